package tasks

import (
	"context"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

func TestManyTasksArePreparedInTheirOrder(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), &Registry{})
	news := make([]Request, 10_000) // so many are prepared on several processors
	for i := range news {
		news[i] = Request{Name: "n", Payload: json.RawMessage(strconv.Itoa(i)), Options: Options{Queue: []string{"a", "b"}[i%2]}}
	}
	news[7] = Request{Name: "n", Options: Options{ID: "mine", Retention: 1e9}, Then: []Request{{Name: "after"}}}
	all, err := c.prepareMany(news)
	require.NoError(t, err)
	require.Len(t, all, len(news)+1)
	require.Equal(t, "mine.then.1", all[8].ID)
	require.True(t, all[8].Then)
	then := queue.Options{After: []string{"mine"}, Chosen: true}
	require.Equal(t, queue.NewKind("after", DefaultQueue, then).Task("mine.then.1", then.String(), []byte("null")).Kind, all[8].Kind)
	seen := map[string]bool{}
	for i, p := range all {
		seen[p.ID] = true
		if i == 7 || i == 8 {
			continue
		}
		if i > 8 {
			i--
		}
		drawn := len(p.ID) <= 14 && strings.HasPrefix(p.ID, all[0].ID[:10])
		kind := queue.NewKind("n", news[i].Queue, queue.Options{})
		same := reflect.DeepEqual(p, kind.Task(p.ID, queue.NoOptions, []byte(strconv.Itoa(i))))
		if !drawn || !same { // so many calls of require take seconds
			require.Fail(t, "prepared otherwise", "%d: %+v %+v", i, p, p.Kind)
		}
	}
	require.Len(t, seen, len(all))
}

// panics is a payload whose encoding does.
type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no JSON") }

func TestAPayloadThatPanicsDoesSoWhereItsCallerCanRecover(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), &Registry{})
	news := make([]Request, 10_000)
	news[9_999].Name, news[9_999].Payload = "n", panics{}
	for i := range news {
		news[i].Name = "n"
	}
	require.PanicsWithValue(t, "no JSON", func() { _, _ = c.EnqueueMany(t.Context(), news) })
}

func TestTasksThatFollowThemselvesAreRefused(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), &Registry{})
	news := []Request{{Name: "n"}, {Name: "n"}}
	news[0].Then, news[1].Then = news, news
	_, err := c.EnqueueMany(t.Context(), news)
	require.ErrorIs(t, err, ErrInvalid)
}
