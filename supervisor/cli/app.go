package cli

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stellarfw/stellar/supervisor/cli/demo"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// echoed is how much of a payload the log shows, in bytes.
const echoed = 1 << 10

// builtinApp is what the bare binary can do: the task echo, whose payload comes
// back as its result and in the log, and the demo's task.
func builtinApp() *worker.App {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "echo", Retention: 10 * time.Minute}, echo)
	demo.Register(app)
	return app
}

func echo(ctx context.Context, payload json.RawMessage) error {
	info := tasks.InfoOf(ctx)
	text := string(payload)
	if len(text) > echoed {
		text = text[:echoed] + "…"
	}
	log := worker.FromContext(ctx).Log
	log.Info().Str("task", info.Name).Str("id", info.ID).Str("payload", text).Msg("echo")
	tasks.Tx(ctx).Result(payload)
	return nil
}
