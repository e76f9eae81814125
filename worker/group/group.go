// Package group runs goroutines that live and end together: the first that
// fails, panics or exits through runtime.Goexit ends the others.
//
// It is errgroup with panics: here a panic in a node's own loop is the node's
// crash, not the process's.
package group

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// PanicError is what a panic becomes.
type PanicError struct {
	Name  string // of the goroutine or handler
	Value any    // what panic was called with
	Stack []byte
}

// Error implements error. It does not contain the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("%s: panic: %v", e.Name, e.Value) }

// Unwrap gives the error that panic was called with, if it was one.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrGoexit is what runtime.Goexit becomes.
var ErrGoexit = errors.New("ended by runtime.Goexit")

// Group is a set of goroutines. Make one with [New].
type Group struct {
	ctx    context.Context //nolint:containedctx // it is the group's own, ended by its first failure
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

// Context is what the group's goroutines get. Its cause is the first failure.
func (g *Group) Context() context.Context { return g.ctx }

// Go starts f. A nil error ends nothing but f itself.
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

// Wait returns the first failure once all goroutines have ended.
func (g *Group) Wait() error {
	g.all.Wait()
	g.cancel(context.Canceled)
	g.once.Do(func() {})
	return g.err
}

// Run calls f and then done, whatever f does: with f's error, with its panic as
// a [*PanicError], or with [ErrGoexit] when it left through runtime.Goexit, in
// which case Run does not return either.
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

// probe asks an error what its readers will ask. One that panics then, such as a
// nil pointer of an error type, is f's panic and not theirs.
func probe(err error) {
	if err == nil {
		return
	}
	_ = err.Error()
	_ = errors.Is(err, ErrGoexit)
	_, _ = errors.AsType[*PanicError](err)
}
