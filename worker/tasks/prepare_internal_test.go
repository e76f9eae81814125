package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestManyTasksArePreparedInTheirOrder(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), nil)
	news := make([]New, 10_000) // so many are prepared on several processors
	for i := range news {
		news[i] = New{Name: "n", Payload: json.RawMessage(strconv.Itoa(i)), Options: Options{Queue: []string{"a", "b"}[i%2]}}
	}
	news[7] = New{Name: "n", Options: Options{ID: "mine", Retention: 1e9}, Then: []New{{Name: "after"}}}
	all, err := c.prepareMany(news)
	require.NoError(t, err)
	require.Len(t, all, len(news)+1)
	require.Equal(t, "mine.then.1", all[8].id)
	require.True(t, all[8].then)
	require.Equal(t, "mine", all[8].after)
	seen := map[string]bool{}
	for i, p := range all {
		seen[p.id] = true
		if i == 7 || i == 8 {
			continue
		}
		if i > 8 {
			i--
		}
		drawn := len(p.id) <= 14 && strings.HasPrefix(p.id, c.producer)
		same := p.line == news[i].Queue && p.tail == record{payload: []byte(strconv.Itoa(i))}.tail() && p.head == "n|"+p.line+"|"
		if !drawn || !same { // so many calls of require take seconds
			require.Fail(t, "prepared otherwise", "%d: %+v %+v", i, p, p.kind)
		}
	}
	require.Len(t, seen, len(all))
}

// panics is a payload whose encoding does.
type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no JSON") }

func TestAPayloadThatPanicsDoesSoWhereItsCallerCanRecover(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), nil)
	news := make([]New, 10_000)
	news[9_999].Name, news[9_999].Payload = "n", panics{}
	for i := range news {
		news[i].Name = "n"
	}
	require.PanicsWithValue(t, "no JSON", func() { _, _ = c.EnqueueMany(t.Context(), news) })
}

func TestAPartBehindAnotherGoesAlone(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), nil)
	mine := split(t.Context(), make([]prepared, 3*maxBatch/2))
	others := []*submission{{ctx: t.Context()}, {ctx: t.Context()}}
	c.waiting = []*submission{others[0], mine[0], mine[1], others[1]}
	for i, want := range [][]*submission{{others[0], mine[0]}, {mine[1]}, {others[1]}} {
		b := c.next()
		require.Equal(t, want, b.parts)
		require.EqualValues(t, i+1, b.number)
		_, behind := c.others(b)
		require.Equal(t, i == 1, behind != nil, "only the second part has one before it")
	}
	// A part that failed takes those behind it along, whatever became of them.
	mine[0].end(ErrQueueFull)
	require.ErrorIs(t, (&batch{parts: mine[1:]}).orphaned(), ErrQueueFull)
}

func TestTasksThatFollowThemselvesAreRefused(t *testing.T) {
	c := NewClient(context.Background(), nil, link.NewKeys("x"), nil)
	news := []New{{Name: "n"}, {Name: "n"}}
	news[0].Then, news[1].Then = news, news
	_, err := c.EnqueueMany(t.Context(), news)
	require.ErrorIs(t, err, ErrInvalid)
}

func TestNobodyWhoLeftIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := link.Config{Dial: func(context.Context) (net.Conn, error) {
			return nil, link.DialError(errors.New("away"))
		}}
		conns, err := link.OpenClient(away, "test")
		require.NoError(t, err)
		c := NewClient(t.Context(), conns, away.Keys(), nil)
		defer func() {
			c.Close()
			require.NoError(t, conns.Close())
			time.Sleep(2 * time.Second) // a dialler outlives its pool by one
		}()
		for range window {
			go func() { _, _ = c.Enqueue(t.Context(), "n", 1) }() // they wait for good
		}
		synctest.Wait()
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = c.EnqueueMany(ctx, slices.Repeat([]New{{Name: "n"}}, 3*maxBatch))
			require.ErrorIs(t, err, link.ErrUnavailable, "they were never sent")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		require.Empty(t, c.waiting)
	})
}
