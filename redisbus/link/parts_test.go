package link_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Every key that Keys can name belongs to a part.
func TestEveryKeyBelongsToItsNamespace(t *testing.T) {
	keys := reflect.ValueOf(link.NewKeys("a.b-c_1"))
	parts := map[link.Part]int{}
	for i := range keys.NumMethod() {
		method, name := keys.Method(i), keys.Type().Method(i).Name
		if method.Type().NumOut() != 1 || method.Type().Out(0).Kind() != reflect.String || name == "Prefix" {
			continue
		}
		args := []reflect.Value{}
		for range method.Type().NumIn() {
			args = append(args, reflect.ValueOf("x:y}:z"))
		}
		key := method.Call(args)[0].String()
		if !strings.HasPrefix(key, "{") {
			continue // a channel
		}
		namespace, part, ok := link.SplitKey(key)
		require.True(t, ok, key)
		require.Equal(t, "a.b-c_1", namespace, key)
		parts[part]++
	}
	require.Len(t, parts, 4)
}

func TestOtherKeysBelongToNoNamespace(t *testing.T) {
	for _, key := range []string{
		"", "{", "{}", "{a}", "{a}:", "{}:tasks", "{a:b}:tasks", "{a}:following", "{a}tasks", "a:tasks", "{a}:tasks2", "x{a}:tasks",
		"{a b}:tasks", "{{a}:tasks", "stellar:cache:a",
	} {
		_, _, ok := link.SplitKey(key)
		require.False(t, ok, key)
	}
}
