package tasks

import (
	"context"
	"errors"
	"sync"

	"github.com/stellarfw/stellar/worker/group"
)

// children are the goroutines that a handler started with [Go].
type children struct {
	all  sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// Go runs f on a goroutine that belongs to the task: the run ends when f has
// returned as well, and f's error or panic fails the run. A panic in a goroutine
// started with the go statement ends the whole process instead; no program can
// prevent that. Outside a task it panics with [ErrNoTask].
func Go(ctx context.Context, f func(ctx context.Context) error) {
	x, ok := ctx.Value(contextKey{}).(*run)
	if !ok {
		panic(ErrNoTask)
	}
	x.children.all.Add(1)
	go group.Run("goroutine of task "+x.claimed.record.name, func() error { return f(ctx) }, func(err error) {
		if err != nil {
			x.children.mu.Lock()
			x.children.errs = append(x.children.errs, err)
			x.children.mu.Unlock()
		}
		x.children.all.Done()
	})
}

// wait returns the children's errors once all have ended.
func (c *children) wait() error {
	c.all.Wait()
	return errors.Join(c.errs...)
}
