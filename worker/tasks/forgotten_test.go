package tasks_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
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

// Each process looking by itself would be a request per process and node, every 20 s.
func TestOneProcessLooksForForgottenTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "known"}, func(context.Context, number) error { return nil })
		server := redistest.Embedded(t)
		c := newCluster(t, server.Config(), &r)
		var log notes
		c.log = &log
		for range 5 {
			c.startMover()
		}
		c.enqueue("known", tasks.Options{Queue: "nobodys"})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.InDelta(t, 10, len(log.about("warn", `"queue":"nobodys"`)), 1, "once a minute, however many processes there are")
		c.redis.Set(t.Context(), c.keys.Mover(), fmt.Sprintf("%d|a process that has ended", time.Now().Add(5*time.Second).UnixMilli()), 0)
		before := len(log.about("warn"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.InDelta(t, 5, len(log.about("warn"))-before, 1, "another one has begun at once")
	})
}

func TestAForeignStreamHidesNoForgottenTasks(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		_, release := blocking(&r, "known")
		defer close(release)
		c := newCluster(t, cfg, &r)
		c.redis.ZAdd(t.Context(), c.keys.Leases(), redis.Z{Score: 1e15, Member: "a:1"})
		c.redis.Set(t.Context(), c.keys.Stream("a:1"), "something else's", 0)
		c.redis.SAdd(t.Context(), c.keys.Queues(), "foreign")
		c.redis.Set(t.Context(), c.keys.Queue("foreign"), "something else's", 0)
		c.start(&r, 1)
		c.enqueue("known", tasks.Options{Queue: "nobodys"})
		for range 20 {
			c.enqueue("known", tasks.Options{})
		}
		c.eventually("claimed", func() bool { return len(c.list(tasks.Filter{States: []tasks.State{tasks.Active}})) > 0 })
		all, err := c.inspector.Forgotten(t.Context())
		require.NoError(t, err)
		require.Equal(t, []tasks.Forgotten{{Queue: "nobodys", Tasks: 1}}, all)
	})
}

// streamReads counts the commands that read streams.
type streamReads struct{ atomic.Int64 }

func (s *streamReads) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (s *streamReads) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (s *streamReads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		for _, cmd := range commands {
			if cmd.Name() == "hmget" {
				s.Add(1)
			}
		}
		return next(ctx, commands)
	}
}

func TestForgottenAsksNoMoreNodesThanItNeeds(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		c := newCluster(t, cfg, &r)
		for n := range 1000 {
			name := "a:" + strconv.Itoa(n)
			c.redis.ZAdd(t.Context(), c.keys.Leases(), redis.Z{Score: 1e15, Member: name})
			c.redis.HSet(t.Context(), c.keys.Stream(name), "queues", "default")
		}
		c.enqueue("known", tasks.Options{})
		client := redistest.Client(t, cfg)
		var reads streamReads
		client.AddHook(&reads)
		all, err := tasks.NewInspector(client, c.keys).Forgotten(t.Context())
		require.NoError(t, err)
		require.Empty(t, all)
		require.LessOrEqual(t, reads.Load(), int64(100))
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
