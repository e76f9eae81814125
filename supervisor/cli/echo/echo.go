// Package echo is the app of the binary stellar: one task, echo, to try out a cluster.
package echo

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// logged is the length to which the log cuts a payload, in bytes.
const logged = 1 << 10

// App returns an app with the task echo, which logs its payload and returns it as its
// result. The error is always nil.
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
	log.Info().Str("task", info.ID).Str("name", info.Name).Str("payload", text).Msg("echo")
	tasks.Tx(ctx).Result(payload)
	return nil
}
