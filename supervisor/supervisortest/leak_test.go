package supervisortest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// inner is a test within a test: it may fail.
type inner struct {
	testing.TB

	cleanups []func()
	errors   []string
}

func (i *inner) Cleanup(f func()) { i.cleanups = append(i.cleanups, f) }

func (i *inner) Errorf(format string, args ...any) {
	i.errors = append(i.errors, fmt.Sprintf(format, args...))
}

func (i *inner) end() {
	for len(i.cleanups) > 0 {
		last := len(i.cleanups) - 1
		f := i.cleanups[last]
		i.cleanups = i.cleanups[:last]
		f()
	}
}

func TestAHandlerThatOutlivesItsTestFailsIt(t *testing.T) {
	started, release := make(chan string, 1), make(chan struct{})
	newApp := func() *worker.App {
		app := worker.NewApp()
		tasks.Handle(app, tasks.Definition{Name: "leaks"}, func(ctx context.Context, _ any) error {
			started <- tasks.InfoOf(ctx).ID
			<-release // whatever becomes of ctx
			return nil
		})
		tasks.Handle(app, tasks.Definition{Name: "obeys"}, func(ctx context.Context, _ any) error {
			started <- tasks.InfoOf(ctx).ID
			<-ctx.Done()
			return ctx.Err()
		})
		return app
	}
	run := func(name string, stop bool) (id string, errors []string) {
		i := &inner{TB: t}
		set := supervisortest.StartWith(i, newApp(), supervisor.Config{Workers: 1, Drain: time.Millisecond, Grace: 10 * time.Millisecond})
		_, err := set.Node("stellar-worker-1").API().Tasks.Enqueue(t.Context(), name, nil)
		require.NoError(t, err)
		id = <-started
		if stop {
			require.ErrorIs(t, set.Stop(), supervisor.ErrDrainDeadline)
		}
		i.end()
		return id, i.errors
	}
	id, errors := run("leaks", false)
	require.Len(t, errors, 1)
	require.Contains(t, errors[0], "handlers outlived the test: ")
	require.Contains(t, errors[0], id)
	_, errors = run("leaks", true)
	require.Empty(t, errors, "the test has the error of Stop")
	close(release)
	_, errors = run("obeys", false)
	require.Empty(t, errors)
}
