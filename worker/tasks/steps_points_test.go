package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// walk is a run of a handler that has effects before, in, between and after steps, a sleep and
// checkpoints. It calls point everywhere between two of these.
type walk struct {
	ctx   context.Context // the run's
	id    string
	point func(n int) error
	n     int
}

// here is the next point, with an effect of that name.
func (w *walk) here(effect string) error {
	if effect != "" {
		tasks.Tx(w.ctx).Increment(effect+" of "+w.id, 1)
	}
	w.n++
	return w.point(w.n)
}

// walkPoints is how many points a run has that ends nowhere, and walkEffects are its effects.
const walkPoints = 17

var walkEffects = []string{
	"before first", "in first", "after first", "after nap", "row 0", "row 1", "row 2", "after rows", "in second", "after second",
}

func (w *walk) step(name string) error {
	first := w.n
	result, err := tasks.Step(w.ctx, name, func(ctx context.Context) (string, error) {
		if err := w.here(""); err != nil {
			return "", err
		}
		err := w.here("in " + name)
		tasks.Tx(ctx).EnqueueWith("followup", name, tasks.Options{AnyName: true, Queue: "elsewhere"})
		return name, err
	})
	if err == nil && result != name {
		return fmt.Errorf("step %s has the result %s", name, result)
	}
	w.n = first + 2 // also when it ended in an earlier run
	return err
}

func (w *walk) rows() error {
	row := 0
	if _, err := tasks.Restore(w.ctx, &row); err != nil {
		return err
	}
	w.n += 2 * row
	for ; row < 3; row++ {
		if err := w.here(fmt.Sprint("row ", row)); err != nil {
			return err
		}
		if err := tasks.Checkpoint(w.ctx, row+1); err != nil {
			return err
		}
		if err := w.here(""); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) run() error {
	effect := func(name string) func() error { return func() error { return w.here(name) } }
	step := func(name string) func() error { return func() error { return w.step(name) } }
	nap := func() error { return tasks.Sleep(w.ctx, "nap", time.Millisecond) }
	for _, part := range []func() error{
		effect(""), effect("before first"), step("first"), effect("after first"), nap, effect("after nap"), w.rows,
		effect("after rows"), step("second"), effect("after second"), effect(""),
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// plan says at which point each run ends, from the first run on; 0: nowhere.
type plan struct{ Ends []int }

// walkers handles "walk", whose payload is a plan. end ends a run.
type walkers struct {
	mu   sync.Mutex
	runs map[string]int
}

func (s *walkers) handle(r *tasks.Registry, end func(ctx context.Context) error) {
	s.runs = map[string]int{}
	tasks.Handle(r, tasks.Definition{Name: "walk", Backoff: time.Millisecond, MaxBackoff: time.Millisecond}, func(ctx context.Context, p plan) error {
		id := tasks.InfoOf(ctx).ID
		s.mu.Lock()
		run := s.runs[id]
		s.runs[id]++
		s.mu.Unlock()
		w := &walk{ctx: context.WithoutCancel(ctx), id: id}
		w.point = func(n int) error {
			if run < len(p.Ends) && p.Ends[run] == n {
				return end(ctx)
			}
			return nil
		}
		err := w.run()
		if errors.Is(err, tasks.ErrSnoozed) { // it goes on with what was planned
			s.mu.Lock()
			s.runs[id]--
			s.mu.Unlock()
		}
		return err
	})
}

// walked checks that every effect of the tasks has counted once.
func (c *cluster) walked(ids []string) {
	c.t.Helper()
	c.eventually("done", func() bool { return c.counts().Done == int64(len(ids)) })
	for _, id := range ids {
		for _, effect := range walkEffects {
			require.Equal(c.t, 1, c.total(effect+" of "+id), "%s of %s", effect, id)
		}
	}
	require.Len(c.t, c.list(tasks.Filter{Queue: "elsewhere"}), 2*len(ids))
	require.Empty(c.t, c.stepKeys())
}

func (c *cluster) walk(ends ...int) string {
	c.t.Helper()
	receipt, err := c.tasks.EnqueueWith(c.t.Context(), "walk", plan{ends}, tasks.Options{})
	require.NoError(c.t, err)
	return receipt.ID
}

// At every point, and at every two points, the handler fails, panics or asks for another time.
func TestEffectsCountOnceWhereverRunsEnd(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context) error{
		"error":  func(context.Context) error { return errAgain },
		"panic":  func(context.Context) error { panic(errAgain) },
		"snooze": func(context.Context) error { return tasks.RetryAfter(errAgain, time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				var s walkers
				s.handle(&r, end)
				c := newCluster(t, cfg, &r)
				c.startMover()
				c.start(&r, 8)
				var ids []string
				for first := 1; first <= walkPoints; first++ {
					for second := 0; second <= walkPoints; second += 1 + first%3 {
						ids = append(ids, c.walk(first, second))
					}
				}
				c.walked(ids)
			})
		})
	}
}

// At every point its node crashes, with and without a count.
func TestEffectsCountOnceWhereverNodesCrash(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var s walkers
		reached := make(chan struct{})
		s.handle(&r, func(ctx context.Context) error {
			reached <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		c := newCluster(t, cfg, &r)
		c.startMover()
		n := c.start(&r, 1)
		var ids []string
		for point := 1; point <= walkPoints; point++ {
			ids = append(ids, c.walk(point))
			receive(t, reached)
			n.crash(point%2 == 0)
			n = c.start(&r, 1)
		}
		c.walked(ids)
	})
}

// At every point another node takes the task over, and the run goes on all the same.
func TestEffectsCountOnceWhateverZombiesDo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var s walkers
		reached, goOn := make(chan struct{}), make(chan struct{})
		s.handle(&r, func(context.Context) error {
			reached <- struct{}{}
			<-goOn
			return nil
		})
		c := newCluster(t, cfg, &r)
		c.startMover()
		n := c.start(&r, 1)
		var ids []string
		for point := 1; point <= walkPoints; point++ {
			ids = append(ids, c.walk(point))
			receive(t, reached)
			n.kill(tasks.ErrEnding)
			require.NoError(t, <-n.ended)
			require.Positive(t, n.settle(queue.Remains{}).On) // and perhaps a task of before
			n = c.start(&r, 1)
			goOn <- struct{}{}
		}
		c.walked(ids)
	})
}

// Crashes between which a task gets on are not its fault.
func TestATaskThatGetsOnIsNotQuarantined(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const steps = 2 * queue.QuarantineAfter
		var r tasks.Registry
		var runs atomic.Int64
		reached := make(chan struct{})
		hang := func(ctx context.Context) error {
			reached <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		tasks.Handle(&r, tasks.Definition{Name: "t"}, func(ctx context.Context, _ number) error {
			last := int(runs.Add(1))
			for i := 1; i <= steps; i++ {
				if _, err := tasks.Step(ctx, fmt.Sprint(i), func(context.Context) (int, error) { return i, nil }); err != nil {
					return err
				}
				if i == last {
					return hang(ctx)
				}
			}
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "stuck", Queue: "stuck"}, func(ctx context.Context, _ number) error {
			_, err := tasks.Restore(ctx, new(int))
			if err == nil {
				err = tasks.Checkpoint(ctx, tasks.InfoOf(ctx).Crashes) // each run makes this one
			}
			if err != nil {
				return err
			}
			return hang(ctx)
		})
		c := newCluster(t, cfg, &r)
		stuck := c.enqueue("stuck", tasks.Options{})
		for range queue.QuarantineAfter {
			n := c.start(&r, 1)
			receive(t, reached)
			n.crash(true)
		}
		require.Equal(t, tasks.Dead, c.get(stuck).State)
		id := c.enqueue("t", tasks.Options{Retention: time.Hour})
		for range steps {
			n := c.start(&r, 1)
			receive(t, reached)
			n.crash(true)
		}
		c.start(&r, 1)
		c.eventually("done", func() bool { return c.get(id).State == tasks.Done })
	})
}
