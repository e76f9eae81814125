package tasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// trips counts the requests that wait for an answer each.
type trips struct{ n *atomic.Int64 }

func (trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmds)
	}
}

func (c trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

// What an inspector reads of many queues and groups takes a few round trips: Redis may be far away.
func TestManyQueuesAndGroupsTakeFewRoundTrips(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		quick(&r)
		c := newCluster(t, cfg, &r)
		var requests []tasks.Request
		for i := range 1000 {
			queue := fmt.Sprint("q", i%10)
			requests = append(requests,
				tasks.Request{Name: "quick", Payload: number{i}, Options: tasks.Options{Queue: queue, Group: fmt.Sprint("g", i)}},
				tasks.Request{Name: "quick", Payload: number{i}, Options: tasks.Options{Queue: queue, Group: fmt.Sprint("large", i%10)}},
				tasks.Request{Name: "quick", Payload: number{i}, Options: tasks.Options{Queue: fmt.Sprint("plain", i%100)}})
		}
		_, err := c.tasks.EnqueueMany(t.Context(), requests)
		require.NoError(t, err)
		var n atomic.Int64
		c.redis.AddHook(trips{&n})

		all, err := c.inspector.Queues(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 110)
		for _, q := range all {
			require.Positive(t, q.Oldest, q.Name)
		}
		require.LessOrEqual(t, n.Load(), int64(10))

		n.Store(0)
		seen := map[int]int{}
		last := map[string]int{}
		for task, err := range c.inspector.List(t.Context(), tasks.Filter{Queue: "q3"}) {
			require.NoError(t, err)
			var of struct {
				N int `json:"N"`
			}
			require.NoError(t, json.Unmarshal(task.Payload, &of))
			require.Less(t, last[task.Group], of.N+1, "in the order of the group")
			last[task.Group] = of.N + 1
			seen[of.N]++
		}
		require.Len(t, seen, 100)
		for i, n := range seen {
			require.Equal(t, 2, n, i)
		}
		require.LessOrEqual(t, n.Load(), int64(20))
	})
}
