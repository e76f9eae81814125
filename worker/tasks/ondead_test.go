package tasks_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// deaths is what a hook was told.
type deaths struct {
	mu   sync.Mutex
	all  []tasks.Death
	in   []any
	meta []string
}

func (d *deaths) hook(ctx context.Context, death tasks.Death, in any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all, d.in, d.meta = append(d.all, death), append(d.in, in), append(d.meta, tasks.InfoOf(ctx).Meta["tenant"])
	return nil
}

func (d *deaths) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// withHook has tasks with a hook in a queue of its own, and publishes them.
func withHook(t *testing.T, cfg link.Config, d *deaths) (*cluster, *tasks.Registry) {
	t.Helper()
	r := &tasks.Registry{}
	fail := func(context.Context, any) error { return errors.New("no luck") }
	tasks.Handle(r, tasks.Definition{Name: "n", MaxAttempts: 1, OnDead: "n.dead"}, fail)
	tasks.Handle(r, tasks.Definition{Name: "stuck", Queue: "stuck", OnDead: "n.dead"}, func(ctx context.Context, _ any) error {
		<-ctx.Done()
		return ctx.Err()
	})
	tasks.OnDead(r, tasks.Definition{Name: "n.dead", Queue: "hooks"}, d.hook)
	c := newCluster(t, cfg, r)
	require.NoError(t, runner.NewPublisher(c.redis, c.keys, r, "v", zerolog.Nop()).Publish(t.Context()))
	return c, r
}

func TestTheHookOfATaskThatIsDeadRunsOnceForEachDeath(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var d deaths
		c, r := withHook(t, cfg, &d)
		c.start(r, 2)
		large := strings.Repeat("x", 20<<10)
		_, err := c.tasks.EnqueueWith(t.Context(), "n", "small", tasks.Options{ID: "small", Meta: map[string]string{"tenant": "acme/1"}})
		require.NoError(t, err)
		c.eventually("the hook ran", func() bool { return d.count() == 1 })
		require.Equal(t, "small", d.in[0])
		require.Equal(t, "acme/1", d.meta[0], "what was enqueued with it")
		why := d.all[0]
		require.WithinDuration(t, c.get("small").Ended, why.At, 0)
		require.Equal(t, tasks.Death{
			ID: "small", Name: "n", Queue: "default", Attempts: 1, At: why.At,
			Reason: tasks.Reason{Reason: "failed", Error: "no luck", Incarnation: why.Reason.Incarnation},
		}, why)
		require.Contains(t, why.String(), "small (n), failed: no luck")

		_, err = c.tasks.EnqueueWith(t.Context(), "n", large, tasks.Options{ID: "large"})
		require.NoError(t, err)
		c.eventually("the hook ran", func() bool { return d.count() == 2 })
		require.Equal(t, large, d.in[1])
		require.NoError(t, c.inspector.Retry(t.Context(), "large"))
		c.eventually("the hook ran again", func() bool { return d.count() == 3 })
		require.Equal(t, large, d.in[2], "the dead task has kept its payload")
		require.NoError(t, c.inspector.Delete(t.Context(), "large"))
		require.NoError(t, c.inspector.Delete(t.Context(), "small"))
		c.eventually("no body is left over", func() bool {
			keys, err := c.redis.Keys(t.Context(), c.keys.Body("*")).Result()
			return err == nil && len(keys) == 0
		})
		c.conserved()
	})
}

func TestTheHookIsStoredWhateverMakesATaskDead(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var d deaths
		c, r := withHook(t, cfg, &d)
		now, err := c.redis.Time(t.Context()).Result()
		require.NoError(t, err)
		c.enqueue("n", tasks.Options{ID: "late", In: time.Hour, Deadline: now.Add(50 * time.Millisecond)})
		c.startMover()
		c.eventually("its deadline has passed", func() bool { return c.get("late").State == tasks.Dead })
		hooks := c.list(tasks.Filter{Name: "n.dead"})
		require.Len(t, hooks, 1)
		require.True(t, strings.HasPrefix(hooks[0], "late.dead."), hooks[0])
		hook := c.get(hooks[0])
		require.Equal(t, "hooks", hook.Queue)
		require.Equal(t, "late", hook.Death.ID)
		require.Equal(t, "deadline", hook.Death.Reason.Reason)

		c.enqueue("stuck", tasks.Options{ID: "poison"})
		for range queue.QuarantineAfter {
			n := c.startWith(runner.Config{Registry: r, Concurrency: 1, Queues: []string{"stuck"}})
			c.eventually("it runs", func() bool { return c.get("poison").State == tasks.Active && n.runner.InHand() == 1 })
			n.crash(true)
		}
		require.Equal(t, "quarantined", c.get("poison").Reason.Reason)
		c.startWith(runner.Config{Registry: r, Concurrency: 1, Queues: []string{"hooks"}})
		c.eventually("both hooks ran", func() bool { return d.count() == 2 })
		require.Equal(t, 3, d.all[1].Crashes)
		c.conserved()
	})
}

func TestATaskOfAHookThatIsDeadHasNoHook(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		r := &tasks.Registry{}
		tasks.Handle(r, tasks.Definition{Name: "n", MaxAttempts: 1, OnDead: "m"}, func(context.Context, any) error { return errors.New("n") })
		tasks.OnDead(r, tasks.Definition{Name: "m", MaxAttempts: 1, OnDead: "n"}, func(context.Context, tasks.Death, any) error { return errors.New("m") })
		c := newCluster(t, cfg, r)
		require.NoError(t, runner.NewPublisher(c.redis, c.keys, r, "v", zerolog.Nop()).Publish(t.Context()))
		c.start(r, 1)
		c.enqueue("n", tasks.Options{ID: "first"})
		c.eventually("both are dead", func() bool { return len(c.list(tasks.Filter{States: []tasks.State{tasks.Dead}})) == 2 })
		c.enqueue("m", tasks.Options{ID: "by"})
		c.eventually("a hook cannot be enqueued", func() bool { return c.get("by").State == tasks.Dead })
		require.Contains(t, c.get("by").Reason.Error, "not because a task was dead")
	})
}

func TestAHookMustBeAnotherTask(t *testing.T) {
	var r tasks.Registry
	tasks.Handle(&r, tasks.Definition{Name: "n", OnDead: "n"}, func(context.Context, any) error { return nil })
	tasks.Handle(&r, tasks.Definition{Name: "m", OnDead: "a b"}, func(context.Context, any) error { return nil })
	tasks.OnDead[any](&r, tasks.Definition{Name: "o"}, nil)
	require.ErrorContains(t, r.Err(), "task n: OnDead must be another task")
	require.ErrorContains(t, r.Err(), `OnDead "a b"`)
	require.ErrorContains(t, r.Err(), "task o: nil handler")
}

// A hook that nobody handles would be noticed only when the first task is dead.
func TestAHookMustBeHandled(t *testing.T) {
	var r tasks.Registry
	handle := func(d tasks.Definition) {
		tasks.Handle(&r, d, func(context.Context, any) error { return nil })
	}
	handle(tasks.Definition{Name: "n", OnDead: "n.daed"})
	handle(tasks.Definition{Name: "m", OnDead: "elsewhere", OnDeadElsewhere: true})
	require.EqualError(t, r.Err(), "task n: OnDead names the task n.daed, which the app does not handle: "+
		"register it with tasks.OnDead, or set OnDeadElsewhere if another program does")
	handle(tasks.Definition{Name: "n.daed"})
	require.NoError(t, r.Err())
	handle(tasks.Definition{Name: "o", OnDeadElsewhere: true})
	require.ErrorContains(t, r.Err(), "task o: OnDeadElsewhere without OnDead")
}
