package demo

import (
	"context"
	"time"

	"github.com/stellarfw/stellar/worker/tasks"
)

// TaskName is the name of the task that counts one file.
const TaskName = "demo.count"

// Keys of the cache entries that hold the sums.
const (
	linesKey = "demo:lines"
	wordsKey = "demo:words"
	bytesKey = "demo:bytes"
)

// Input is the payload of the task [TaskName].
type Input struct {
	Path string `json:"path"`
}

// Counted is the result of the task [TaskName].
type Counted struct {
	Sums
	Gone bool `json:"gone,omitempty"` // the file could not be read; all counts are 0
}

// Register registers the task [TaskName] with r.
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
