package tasks

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

// eachOption gives f options of which one is set, and the name of its field.
func eachOption(t *testing.T, f func(field string, o Options)) {
	t.Helper()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Options]()) {
		if !field.IsExported() {
			continue
		}
		var o Options
		switch v := reflect.ValueOf(&o).Elem().FieldByIndex(field.Index); v.Interface().(type) {
		case time.Duration:
			v.SetInt(int64(time.Hour))
		case time.Time:
			v.Set(reflect.ValueOf(time.UnixMilli(4e12)))
		case Priority, int:
			v.SetInt(1)
		case string:
			v.SetString("x")
		case bool:
			v.SetBool(true)
		case []string:
			v.Set(reflect.ValueOf([]string{"x"}))
		case map[string]string:
			v.Set(reflect.ValueOf(map[string]string{"x": "y"}))
		default:
			require.Fail(t, "say how to set it", "%s %s", field.Name, field.Type)
		}
		f(field.Name, o)
	}
}

// A task without options is sent like the one before: an option that none forgets
// would be lost.
func TestNoOptionIsTakenForNone(t *testing.T) {
	require.True(t, Options{}.none())
	eachOption(t, func(field string, o Options) {
		require.Equal(t, field == "Queue" || field == "AnyName", o.none(), field) // these make no difference to what is sent
	})
}

func TestEveryOptionIsSentAndStored(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), &Registry{})
	sent := func(o Options) string {
		p, err := c.prepare("n", nil, o)
		require.NoError(t, err)
		kind := *p.Kind
		p.Kind, p.ID = nil, ""
		return fmt.Sprintf("%+v %+v", kind, p)
	}
	eachOption(t, func(field string, o Options) {
		if field == "AnyName" {
			return
		}
		without := Options{}
		if field == "UniqueFor" {
			o.Unique, without.Unique = "x", "x"
		}
		require.NotEqual(t, sent(without), sent(o), field)
	})
}
