package demo

import (
	"context"
	"time"

	"github.com/stellarfw/stellar/worker/tasks"
)

// TaskName is the name of the demo's task.
const TaskName = "demo.count"

// Entries of the cache where the sums are.
const (
	linesKey = "demo:lines"
	wordsKey = "demo:words"
	bytesKey = "demo:bytes"
)

// Input is the payload of the task.
type Input struct {
	Path string `json:"path"`
}

// Counted is the result of the task.
type Counted struct {
	Sums
	Gone bool `json:"gone,omitempty"` // it could not be read: it counts nothing
}

// Register registers the task.
func Register(r tasks.Registrar) {
	tasks.Handle(r, tasks.Definition{
		Name: TaskName, MaxAttempts: 5, Backoff: 20 * time.Millisecond, MaxBackoff: time.Second, Retention: 10 * time.Minute,
	}, count)
}

func count(ctx context.Context, in Input) error {
	s, err := CountFile(ctx, in.Path)
	if err != nil && !gone(err) {
		return err
	}
	tx := tasks.Tx(ctx)
	tx.Increment(linesKey, s.Lines)
	tx.Increment(wordsKey, s.Words)
	tx.Increment(bytesKey, s.Bytes)
	tx.Result(Counted{Sums: s, Gone: err != nil})
	return nil
}
