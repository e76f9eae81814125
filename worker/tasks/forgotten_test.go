package tasks_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestForgottenTasksAreFound(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		_, release := blocking(&r, "known")
		defer close(release)
		c := newCluster(t, cfg, &r)
		found := func() []tasks.Forgotten {
			all, err := c.inspector.Forgotten(t.Context())
			require.NoError(t, err)
			return all
		}
		require.Empty(t, found())
		for range 3 {
			c.enqueue("known", tasks.Options{})
		}
		c.enqueue("known", tasks.Options{Queue: "other", Priority: tasks.High})
		c.enqueue("known", tasks.Options{Queue: "later", In: time.Hour})
		c.enqueue("lost", tasks.Options{})
		require.ElementsMatch(t, []tasks.Forgotten{{Queue: "default", Tasks: 4}, {Queue: "other", Tasks: 1}}, found(), "no node lives")
		c.startWith(runner.Config{Registry: &r, Concurrency: 10, Queues: []string{"default"}})
		c.eventually("parked", func() bool { return len(c.list(tasks.Filter{States: []tasks.State{tasks.Parked}})) == 1 })
		require.ElementsMatch(t, []tasks.Forgotten{{Queue: "default", Name: "lost", Tasks: 1}, {Queue: "other", Tasks: 1}}, found())
	})
}

func TestAForgottenHandlerIsSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		r.RegisterPeriodic(tasks.Periodic{Task: "report", Schedule: tasks.Every(10 * time.Second)})
		tasks.Handle(&r, tasks.Definition{Name: "known"}, func(context.Context, number) error { return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		var log notes
		var seen tally
		c.log, c.observer = &log, &seen
		c.startMover()
		c.tickers(&r, 2)
		c.start(&r, 2)
		c.enqueue("lost", tasks.Options{})
		c.enqueue("known", tasks.Options{Queue: "nobodys"})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Empty(t, log.about("warn"), "nodes may be starting")
		time.Sleep(9*time.Minute + 45*time.Second)
		synctest.Wait()
		for _, name := range []string{`"name":"lost"`, `"name":"report"`, `"queue":"nobodys"`} {
			require.InDelta(t, 10, len(log.about("warn", name)), 1, name)
		}
		require.Len(t, log.about(`"name":"report"`, `"tasks":1`), len(log.about(`"name":"report"`)), "one tick is parked")
		require.Equal(t, 1, seen.of("tick enqueued"))
		require.Equal(t, 58, seen.of("tick missed"))

		var all tasks.Registry
		ran := make(chan string, 10)
		tasks.Handle(&all, tasks.Definition{Name: "report"}, func(ctx context.Context, _ any) error {
			info := tasks.InfoOf(ctx)
			ran <- info.ID
			return nil
		})
		c.start(&all, 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, ran, 2, "the parked tick, and the next one")
	})
}
