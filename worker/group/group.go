// Package group runs goroutines that live and end together: the first goroutine that
// fails, panics or exits through runtime.Goexit ends the others.
//
// Unlike errgroup it turns a panic into an error: a panic in a node's own loop must be a
// crash of the node and not of the process.
package group

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// PanicError is the error of a goroutine that panicked.
type PanicError struct {
	Name  string // of the goroutine or handler
	Value any    // the argument of panic
	Stack []byte
}

// Error implements error. It does not contain the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("%s: panic: %v", e.Name, e.Value) }

// Unwrap returns the argument of panic if it was an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrGoexit is the error of a goroutine that exited through runtime.Goexit.
var ErrGoexit = errors.New("ended by runtime.Goexit")

// Group is a set of goroutines. Make one with [New].
type Group struct {
	ctx    context.Context //nolint:containedctx // the group's own context: its first failure ends it
	cancel context.CancelCauseFunc
	all    sync.WaitGroup

	once sync.Once
	err  error
}

// New returns an empty group whose goroutines end with ctx.
func New(ctx context.Context) *Group {
	g := &Group{}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// Context returns the context of the group's goroutines. Its cause is the first failure.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs f in a goroutine of the group. If f returns an error, the group ends; if it
// returns nil, the others go on. name is that of a [PanicError].
func (g *Group) Go(name string, f func(context.Context) error) {
	g.all.Add(1)
	go Run(name, func() error { return f(g.ctx) }, func(err error) {
		if err != nil {
			g.Fail(err)
		}
		g.all.Done()
	})
}

// Fail ends the group as if one of its goroutines had returned err.
func (g *Group) Fail(err error) {
	g.once.Do(func() {
		g.err = err
		g.cancel(err)
	})
}

// Stop ends the group without an error.
func (g *Group) Stop() { g.cancel(context.Canceled) }

// Wait waits until all goroutines have ended and returns the first failure, nil if there
// was none.
func (g *Group) Wait() error {
	g.all.Wait()
	g.cancel(context.Canceled)
	g.once.Do(func() {})
	return g.err
}

// Run calls f and then done: with the error of f, with a [*PanicError] if f panicked, or
// with [ErrGoexit] if f exited through runtime.Goexit; in that case Run does not return.
func Run(name string, f func() error, done func(error)) {
	err := ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Name: name, Value: v, Stack: debug.Stack()}
		}
		done(err)
	}()
	err = f()
	probe(err)
}

// probe calls the methods of an error that its readers will call. If they panic, as those
// of a nil pointer may, the panic counts as f's.
func probe(err error) {
	if err == nil {
		return
	}
	_ = err.Error()
	_ = errors.Is(err, ErrGoexit)
	_, _ = errors.AsType[*PanicError](err)
}
