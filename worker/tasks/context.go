package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// InTask reports whether the context belongs to a running task.
func InTask(ctx context.Context) bool { return queue.RunOf(ctx) != nil }

// mustRun returns the run that the context belongs to. Outside a run it panics: the call
// is a mistake in the program.
func mustRun(ctx context.Context, function string) *queue.Run {
	r := queue.RunOf(ctx)
	if r == nil {
		panic(fmt.Errorf("tasks.%s: %w", function, ErrNoTask))
	}
	return r
}

// clientOf returns the client of the node on which the context's task runs.
func clientOf(ctx context.Context) *Client {
	c, _ := ctx.Value(queue.ClientKey{}).(*Client)
	return c
}

// Info describes the run that a context belongs to. Of a batch it has the Name, the Node, the Fence, the
// Queue of the first task, and Batch.
type Info struct {
	ID      string // the same in every run of the task: usable as an idempotency key
	Name    string
	Queue   string
	Group   string // see [Options]; empty for none
	Attempt int    // 1 in the first run; runs that crashed or ended with their node do not count
	Crashes int    // runs that ended with their node
	Node    string // the incarnation of the node
	// Waited is for how long the task waited after it was due. Of a batch, each task has its own.
	Waited time.Duration
	// Fence is a fencing token: it grows with every incarnation. A store that
	// remembers the largest token can refuse writes of older runs.
	Fence    int64
	Enqueued time.Time // on Redis's clock
	Payload  json.RawMessage
	Meta     map[string]string // see [Options]; not to be changed
	// Batch describes the tasks of a batch, in the order of its handler's argument; it is nil elsewhere.
	Batch []Info
	// Tick is when a periodic task was due of which this is a run, on Redis's clock: zero for any
	// other task.
	Tick time.Time
}

// InfoOf describes the run that the context belongs to. Outside a task it panics with an
// error that is [ErrNoTask]; check with [InTask].
func InfoOf(ctx context.Context) Info {
	r := mustRun(ctx, "InfoOf")
	if r.Members == nil {
		return infoOf(r)
	}
	batch := Info{Name: r.Record.Name, Queue: r.Record.Queue(), Node: r.Node.Incarnation, Fence: r.Node.Fence, Batch: []Info{}}
	for _, member := range givenOf(ctx) {
		batch.Batch = append(batch.Batch, infoOf(member))
	}
	return batch
}

func infoOf(r *queue.Run) Info {
	return Info{
		ID: r.ID, Name: r.Record.Name, Queue: r.Record.Queue(), Group: r.Record.Group(), Attempt: r.Tries.Attempts + 1, Crashes: r.Tries.Crashes,
		Node: r.Node.Incarnation, Waited: r.Waited, Fence: r.Node.Fence, Enqueued: r.Record.Enqueued, Payload: r.Record.Payload,
		Meta: r.Record.Options.Meta, Tick: tickOf(r.Record.Options),
	}
}

// tickOf returns the tick that a task's options name, or the zero time.
func tickOf(o queue.Options) time.Time {
	if o.Tick == 0 {
		return time.Time{}
	}
	return queue.TimeOf(o.Tick)
}

// Go runs f on a goroutine that belongs to the task: the run ends when f has
// returned as well, and f's error or panic fails the run. A panic in a goroutine
// started with the go statement ends the whole process instead; no program can
// prevent that. Outside a task it panics with an error that is [ErrNoTask].
func Go(ctx context.Context, f func(ctx context.Context) error) {
	mustRun(ctx, "Go").Go(func() error { return f(ctx) })
}

// Progress is the progress that a running task reported with [SetProgress].
type Progress struct {
	Fraction float64 `json:"fraction"` // 0 to 1
	Note     string  `json:"note,omitempty"`
}

// SetProgress stores the progress of the task that the context belongs to: fraction, from
// 0 to 1, and a note. [Inspector.Get] returns the progress until a run succeeds. SetProgress
// takes a round trip to Redis. Its error is [ErrFenced] when the task is not this run's any more, and [ErrBatch] in a batch.
// Outside a task it panics with an error that is [ErrNoTask].
func SetProgress(ctx context.Context, fraction float64, note string) error {
	r := mustRun(ctx, "SetProgress")
	if r.Members != nil {
		return fmt.Errorf("progress: %w", ErrBatch)
	}
	if math.IsNaN(fraction) || fraction < 0 || fraction > 1 {
		return fmt.Errorf("progress %v: use a fraction from 0 to 1", fraction)
	}
	text, err := json.Marshal(Progress{fraction, queue.Clip(note, 500)})
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	err = clientOf(ctx).store.Progress(ctx, r.Node.Incarnation, r.ID, text)
	if errors.Is(err, queue.ErrFenced) {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	return nil
}
