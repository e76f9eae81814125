package tasks_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// suspect stores a task that one more crash would quarantine.
func (c *cluster) suspect(name string, o tasks.Options) string {
	c.t.Helper()
	tries := queue.Tries{Crashes: queue.QuarantineAfter - 1}
	require.NoError(c.t, c.redis.HSet(c.t.Context(), c.keys.Tries(), o.ID, tries.String()).Err())
	return c.enqueue(name, o)
}

func TestWaitingSuspectsTakeNoSlots(t *testing.T) {
	const slots, others = 10, 100
	for name, limits := range map[string]tasks.Limits{"no limit": {}, "a limit of the queue": {Concurrency: slots}} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				started, release := blocking(&r, "long")
				tasks.Handle(&r, tasks.Definition{Name: "short"}, func(context.Context, number) error { return nil })
				c := newCluster(t, cfg, &r)
				_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &limits)
				require.NoError(t, err)
				for i := range slots {
					c.suspect("long", tasks.Options{ID: fmt.Sprint("suspect-", i)})
				}
				for range others {
					c.enqueue("short", tasks.Options{})
				}
				c.startMover()
				c.start(&r, slots)
				runs := receive(t, started).ID
				c.eventually("all others are done while one suspect runs", func() bool { return c.counts().Done == others })
				require.Empty(t, started, "suspects run one at a time")
				c.eventually("the other suspects wait on Redis", func() bool {
					n := c.counts()
					return n.Active == 1 && n.Delayed == slots-1
				})
				for i := range slots {
					id := fmt.Sprint("suspect-", i)
					if id == runs {
						continue
					}
					e, err := c.inspector.Explain(t.Context(), id)
					require.NoError(t, err)
					require.Contains(t, fmt.Sprint(e.Why), "2 of its runs ended with a crash of their node: such tasks run one at a time in each process")
					require.Contains(t, fmt.Sprint(e.Why), "it may wait for its turn to run alone")
				}
				queues, err := c.inspector.Queues(t.Context())
				require.NoError(t, err)
				require.Zero(t, queues[0].Ever.Snoozed, "none of them asked for another time")
				close(release)
				c.eventually("the suspects too", func() bool { return c.counts().Done == others+slots })
				c.conserved()
			})
		})
	}
}

func TestManySuspectsRunOneAfterTheOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const many = 300
		var r tasks.Registry
		var running, together atomic.Int64
		tasks.Handle(&r, tasks.Definition{Name: "short"}, func(context.Context, number) error {
			together.Store(max(together.Load(), running.Add(1)))
			running.Add(-1)
			return nil
		})
		c := newCluster(t, cfg, &r)
		for i := range many {
			c.suspect("short", tasks.Options{ID: fmt.Sprint("suspect-", i)})
		}
		c.startMover()
		var lane runner.Solo // of the process that both nodes are in
		for range 2 {
			c.startWith(runner.Config{Registry: &r, Concurrency: 5, Solo: &lane})
		}
		c.eventually("done", func() bool { return c.counts().Done == many })
		require.EqualValues(t, 1, together.Load())
	})
}
