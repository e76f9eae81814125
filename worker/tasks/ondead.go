package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Death describes a task that is dead. Times are on Redis's clock.
type Death struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Queue    string    `json:"queue"`
	Attempts int       `json:"attempts"`
	Crashes  int       `json:"crashes"`
	At       time.Time `json:"at"`
	Reason   Reason    `json:"reason"`
}

// String returns the death in words, such as "order:17 (mail), failed: no such address".
func (d Death) String() string { return fmt.Sprintf("%s (%s), %s", d.ID, d.Name, d.Reason) }

// OnDead registers a hook: the task that is enqueued whenever a task is dead whose
// [Definition].OnDead names the hook. Its payload and its meta are those of the dead task.
//
//	tasks.Handle(app, tasks.Definition{Name: "order.pay", OnDead: "order.unpaid"}, pay)
//	tasks.OnDead(app, tasks.Definition{Name: "order.unpaid"}, func(ctx context.Context, d tasks.Death, in Order) error { … })
//
// The script that makes the task dead also stores the hook's task, whether the last attempt
// failed, the deadline passed or the task was quarantined: there is exactly one for each death. A
// dead task that was retried and is dead again has another. The id of the hook's task is that of the dead task,
// ".dead." and the time in milliseconds. The hook's task is retried like any other; when it
// is dead itself, no further hook follows. Several definitions may name the same hook. A hook that another program
// handles needs [Definition].OnDeadElsewhere: otherwise a name that the app does not handle is an error at its start.
func OnDead[In any](r Registrar, d Definition, h func(ctx context.Context, d Death, in In) error) {
	if h == nil {
		r.RegisterTask(d, nil)
		return
	}
	Handle(r, d, func(ctx context.Context, in In) error {
		death := deathOf(mustRun(ctx, "OnDead").Record.Options.Death)
		if death == nil {
			return Discard(fmt.Errorf("%w: it was enqueued by a program, and not because a task was dead", ErrInvalid))
		}
		return h(ctx, *death, in)
	})
}

// deathOf returns what a record says, or nil.
func deathOf(d *queue.Death) *Death {
	if d == nil {
		return nil
	}
	tries := queue.ParseTries(d.Tries)
	out := &Death{ID: d.ID, Name: d.Name, Queue: d.Queue, Attempts: tries.Attempts, Crashes: tries.Crashes, At: queue.TimeOf(d.At)}
	_ = json.Unmarshal(d.Reason, &out.Reason) // a reason that cannot be read stays empty
	return out
}
