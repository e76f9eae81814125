package supervisortest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// newApp is the program under test.
func newApp() *worker.App {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "greet", Retention: time.Minute}, func(ctx context.Context, name string) error {
		tasks.Tx(ctx).Result("Hello " + name)
		return nil
	})
	return app
}

var t *testing.T // of the test function

// The body of a test: three nodes, one task and its result.
func ExampleStart() { //nolint:testableexamples // it needs a test: TestExample runs it
	set := supervisortest.Start(t, newApp())
	queue := set.Node("stellar-worker-1").API().Tasks

	result, err := queue.EnqueueAndWait(t.Context(), "greet", "Ada", tasks.Options{})
	if err != nil || string(result) != `"Hello Ada"` {
		t.Error(string(result), err)
	}
}

// The same, as a test that runs.
func TestExample(running *testing.T) {
	t = running
	ExampleStart()
}
