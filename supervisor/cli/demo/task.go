package demo

import (
	"context"
	"fmt"
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

// Input is the payload of the task [TaskName]. It has a number instead of a path: whoever can
// enqueue chooses among the files that the demo has listed, and reads no others.
type Input struct {
	File int `json:"file"` // index in the list of files
}

// Counted is the result of the task [TaskName].
type Counted struct {
	Sums
	Gone bool `json:"gone,omitempty"` // the file could not be read; all counts are 0
}

// register registers the task [TaskName] with r.
func (d *demo) register(r tasks.Registrar) {
	tasks.Handle(r, tasks.Definition{
		Name: TaskName, MaxAttempts: 5, Backoff: 20 * time.Millisecond, MaxBackoff: time.Second, Retention: 10 * time.Minute,
	}, d.countOne)
}

// countOne is the handler of the task [TaskName].
func (d *demo) countOne(ctx context.Context, in Input) error {
	f, ok := d.file(in.File)
	if !ok {
		return tasks.Discard(fmt.Errorf("the demo has no file %d", in.File))
	}
	s, err := f.count(ctx)
	if err != nil && !gone(err) {
		return err
	}
	add(ctx, s)
	tasks.Tx(ctx).Result(Counted{Sums: s, Gone: err != nil})
	return nil
}

// add adds the counts of a file to the sums, with the transaction.
func add(ctx context.Context, s Sums) {
	tx := tasks.Tx(ctx)
	tx.Increment(linesKey, s.Lines)
	tx.Increment(wordsKey, s.Words)
	tx.Increment(bytesKey, s.Bytes)
}

// file returns the listed file with that index.
func (d *demo) file(i int) (f file, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i < 0 || i >= len(d.files) {
		return f, false
	}
	return d.files[i], true
}
