package cache_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// witness notes what it hears.
type witness struct {
	mu                 sync.Mutex
	done               []cache.Operation
	waited, held, lost []cache.LockTime
	near               []cache.NearResult
}

func (w *witness) CacheDone(o cache.Operation) { w.note(func() { w.done = append(w.done, o) }) }
func (w *witness) NearRead(r cache.NearResult) { w.note(func() { w.near = append(w.near, r) }) }
func (w *witness) LockWaited(l cache.LockTime) { w.note(func() { w.waited = append(w.waited, l) }) }
func (w *witness) LockHeld(l cache.LockTime)   { w.note(func() { w.held = append(w.held, l) }) }
func (w *witness) LockLost(l cache.LockTime)   { w.note(func() { w.lost = append(w.lost, l) }) }

func (w *witness) note(what func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what()
}

func observed(t *testing.T, cfg link.Config) (*cache.Cache, *witness) {
	w := &witness{}
	return cache.New(cache.Config{Client: redistest.Client(t, cfg), Keys: cfg.Keys(), Observer: w}), w
}

func TestObserverHearsEveryOperationAndItsError(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c, w := observed(t, cfg)
		ctx := t.Context()
		var l *cache.Lock
		for _, step := range []struct {
			op  string
			do  func() error
			err error
		}{
			{"save", func() error { return c.Save(ctx, "k", 1, 0) }, nil},
			{"save", func() error { _, err := c.SaveWith(ctx, "k", 1, cache.SaveOptions{IfAbsent: true}); return err }, cache.ErrConflict},
			{"save", func() error { return c.Save(ctx, "k", 1, -1) }, cache.ErrInvalid},
			{"load", func() error { return second(c.Load(ctx, "k")) }, nil},
			{"load", func() error { return second(c.Load(ctx, "none")) }, cache.ErrNotFound},
			{"load", func() error { return c.Touch(ctx, "none", time.Second) }, cache.ErrNotFound},
			{"increment", func() error { return second(c.Increment(ctx, "k", 1)) }, nil},
			{"push", func() error { return second(c.Push(ctx, "l", 1)) }, nil},
			{"push", func() error { return second(c.Push(ctx, "k", 1)) }, cache.ErrWrongType},
			{"length", func() error { return second(c.Len(ctx, "l")) }, nil},
			{"range", func() error { return second(c.Range(ctx, "l", 0, -1)) }, nil},
			{"pop", func() error { return second(c.Pop(ctx, "l")) }, nil},
			{"pop", func() error { return second(c.Pop(ctx, "l")) }, cache.ErrNotFound},
			{"lock", func() (err error) { l, err = c.TryLock(ctx, "k", time.Minute); return err }, nil},
			{"lock", func() error { return second(c.TryLock(ctx, "k", time.Minute)) }, cache.ErrLocked},
			{"check lock", func() error { _, _, err := c.CheckLock(ctx, "k"); return err }, nil},
			{"destroy", func() error { return second(c.Destroy(ctx, "k")) }, cache.ErrLocked},
			{"unlock", func() error { return l.Unlock() }, nil},
			{"unlock", func() error { return l.Unlock() }, cache.ErrLockLost},
			{"save many", func() error { return c.SaveMany(ctx, []cache.Item{{Key: "k", Value: 1}}) }, nil},
			{"load many", func() error { return second(c.LoadMany(ctx, []string{"k"})) }, nil},
		} {
			w.done = nil
			err := step.do()
			require.ErrorIs(t, err, step.err, step.op)
			require.Len(t, w.done, 1, step.op)
			require.Equal(t, step.op, w.done[0].Op)
			require.Equal(t, err, w.done[0].Err, step.op)
			require.Positive(t, w.done[0].Took, step.op)
		}
		require.Len(t, w.held, 1)
		require.Equal(t, l.Fence(), w.held[0].Fence)
	})
}

func TestObserverHearsForHowLongLocksAreWaitedForAndHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		c, w := observed(t, server.Config())
		ctx := t.Context()
		first, err := c.TryLock(ctx, "k", time.Minute)
		require.NoError(t, err)
		require.ErrorIs(t, second(c.LockWith(ctx, "k", cache.LockOptions{Wait: 2 * time.Second})), cache.ErrLocked)
		require.Len(t, w.waited, 1)
		require.Equal(t, 2*time.Second, w.waited[0].Took)
		require.ErrorIs(t, w.waited[0].Err, cache.ErrLocked)
		require.Zero(t, w.waited[0].Fence)

		time.AfterFunc(3*time.Second, func() { errorFree(t, first.Unlock()) })
		next, err := c.LockWith(ctx, "k", cache.LockOptions{TTL: 6 * time.Second, Wait: -1})
		require.NoError(t, err)
		synctest.Wait()
		require.NotNil(t, w.waited[1].Context)
		waited := cache.LockTime{Context: w.waited[1].Context, Key: "k", Fence: next.Fence(), Took: 3 * time.Second}
		require.Equal(t, waited, w.waited[1])
		require.Equal(t, []cache.LockTime{{Key: "k", Fence: first.Fence(), Took: 5 * time.Second}}, w.held)

		require.NoError(t, redistest.Client(t, server.Config()).FlushAll(ctx).Err())
		time.Sleep(3 * time.Second)
		require.ErrorIs(t, context.Cause(next.Context()), cache.ErrLockLost)
		require.ErrorIs(t, next.Unlock(), cache.ErrLockLost)
		require.Equal(t, []cache.LockTime{{Key: "k", Fence: next.Fence(), Took: 2 * time.Second}}, w.lost)
		require.Len(t, w.held, 1)

		// A computation that others wait for is no lock of the caller's.
		_, err = cache.GetOrLoad(ctx, c, "computed", cache.FillOptions{}, func(context.Context) (int, error) { return 1, nil })
		require.NoError(t, err)
		require.Len(t, w.held, 1)
	})
}

// counter is the least that an observer may do.
type counter struct{ done, ended int }

func (c *counter) CacheDone(cache.Operation) { c.done++ }
func (c *counter) NearRead(cache.NearResult) { c.ended++ }
func (c *counter) LockWaited(cache.LockTime) { c.ended++ }
func (c *counter) LockHeld(cache.LockTime)   { c.ended++ }
func (c *counter) LockLost(cache.LockTime)   { c.ended++ }

func TestToObserveAllocatesNothing(t *testing.T) {
	cfg, ctx := redistest.Start(t).Config(), t.Context()
	require.NoError(t, open(t, cfg).Save(ctx, "n:probe", 1, 0))
	count, allocs := &counter{}, []int{}
	for _, observer := range []cache.Observer{nil, count} {
		c, stop := serveNear(t, cache.Config{Client: redistest.Client(t, cfg), Keys: cfg.Keys(), Observer: observer})
		require.Eventually(t, func() bool { return isNear(t, cfg, c) }, time.Minute, 10*time.Millisecond)
		count.done = 0
		allocs = append(allocs, int(testing.AllocsPerRun(1000, func() { _, _ = c.Load(ctx, "n:probe") })))
		if observer != nil {
			require.GreaterOrEqual(t, count.done, 1000)
		}
		stop()
	}
	require.Equal(t, allocs[0], allocs[1])
}
