// Package echo is the app of the bare binary: one task to try a cluster with.
package echo

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// logged is how much of a payload the log shows, in bytes.
const logged = 1 << 10

// App returns an app with the task echo: its payload becomes its result and is
// logged.
func App() (*worker.App, error) {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "echo", Retention: 10 * time.Minute}, echo)
	return app, nil
}

func echo(ctx context.Context, payload json.RawMessage) error {
	info := tasks.InfoOf(ctx)
	text := string(payload)
	if len(text) > logged {
		text = text[:logged] + "…"
	}
	log := worker.FromContext(ctx).Log
	log.Info().Str("task", info.Name).Str("id", info.ID).Str("payload", text).Msg("echo")
	tasks.Tx(ctx).Result(payload)
	return nil
}
