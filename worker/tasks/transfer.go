package tasks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Transfer is how far an export or import has come.
type Transfer struct {
	Tasks    int   // that were written, or stored
	Existing int   // that were not stored, as a task of their id or unique key was there
	Skipped  int   // whose payload cannot be read
	Bytes    int64 // of the file
}

// TransferOptions are the options of [Inspector.Export] and [Client.Import].
type TransferOptions struct {
	// Report is called for each task.
	Report func(Transfer)
}

// line is a task in an export. Times are on Redis's clock.
type line struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Queue       string            `json:"queue"`
	Group       string            `json:"group,omitempty"`
	Priority    Priority          `json:"priority,omitempty"`
	Payload     json.RawMessage   `json:"payload"`
	Due         time.Time         `json:"dueAt,omitzero"`
	In          int64             `json:"inMs,omitempty"` // after those of After are done
	Deadline    time.Time         `json:"deadlineAt,omitzero"`
	Unique      string            `json:"unique,omitempty"`
	UniqueFor   int64             `json:"uniqueForMs,omitempty"`
	After       []string          `json:"after,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	MaxAttempts int               `json:"maxAttempts,omitempty"`
	Timeout     int64             `json:"timeoutMs,omitempty"`
	Backoff     int64             `json:"backoffMs,omitempty"`
	MaxBackoff  int64             `json:"maxBackoffMs,omitempty"`
	Retention   int64             `json:"retentionMs,omitempty"`
	Death       *queue.Death      `json:"death,omitempty"` // of the task of a hook
	Tick        int64             `json:"tickMs,omitempty"`
}

// waiting are the states of tasks that an export has without others in its filter.
func waiting() []State { return []State{Pending, Parked, Delayed, Blocked} }

// Export writes the tasks that a filter selects to w, a JSON object on each line, for [Client.Import];
// without States those that wait, for whatever. Dead and cancelled ones can be exported as well; those that run or
// are done cannot. A line has the task as it was enqueued, with its due time: not how often it has failed, its
// history, progress and steps. Like [Inspector.List] it reads one place after the other: pause the queues before, or a task that
// moves meanwhile may be missing. Tasks that follow others
// stand behind these. What a task follows and is not in the file (it runs, or the filter leaves it out) has to be stored when the file
// is imported: else the task does not wait for it. Export has the ids of all blocked tasks in memory.
func (i *Inspector) Export(ctx context.Context, w io.Writer, f Filter, o TransferOptions) (done Transfer, err error) {
	if f, err = f.exported(); err != nil {
		return done, fmt.Errorf("export tasks: %w", err)
	}
	out := bufio.NewWriter(w)
	for t, err := range i.List(ctx, f) {
		if err != nil {
			return done, err
		}
		if !exportable(t) {
			done.Skipped++
			continue
		}
		text, err := json.Marshal(lineOf(t))
		if err == nil {
			_, err = out.Write(append(text, '\n'))
		}
		if err != nil {
			return done, fmt.Errorf("export task %s: %w", t.ID, err)
		}
		done.Tasks++
		done.Bytes += int64(len(text)) + 1
		if o.Report != nil {
			o.Report(done)
		}
	}
	if err := out.Flush(); err != nil {
		return done, fmt.Errorf("export tasks: %w", err)
	}
	return done, nil
}

// exported returns the filter of an export: whoever follows others comes behind them.
func (f Filter) exported() (Filter, error) {
	if len(f.States) == 0 {
		f.States = waiting()
	}
	blocked := slices.Contains(f.States, Blocked)
	f.States = slices.DeleteFunc(slices.Clone(f.States), func(s State) bool { return s == Blocked })
	if blocked {
		f.States = append(f.States, Blocked)
	}
	f.inOrder = true
	for _, s := range f.States {
		if s == Active || s == Done {
			return f, fmt.Errorf("%w: state %s: those that run or are done cannot be exported", ErrInvalid, s)
		}
	}
	return f, f.validate()
}

// exportable reports whether the task can be read.
func exportable(t Task) bool {
	return !slices.Contains(t.Omitted, "payload") && t.Payload != nil && t.Name != ""
}

func lineOf(t Task) line {
	o := t.options
	l := line{
		ID: t.ID, Name: t.Name, Queue: t.Queue, Group: t.Group, Priority: t.Priority, Payload: t.Payload, Due: t.Due, Deadline: t.Deadline,
		Unique: t.Unique, UniqueFor: o.UniqueFor, After: t.After, Meta: t.Meta, MaxAttempts: o.MaxAttempts, Timeout: o.Timeout,
		Backoff: o.Backoff, MaxBackoff: o.MaxBackoff, Retention: o.Retention, Death: o.Death, Tick: o.Tick,
	}
	if t.State == Blocked {
		if l.In = o.In; o.At > 0 {
			l.Due = queue.TimeOf(o.At)
		}
	}
	return l
}

// request returns the line as a task to enqueue.
func (l line) request() Request {
	var carried *queue.Options
	if l.Death != nil || l.Tick != 0 {
		carried = &queue.Options{Death: l.Death, Tick: l.Tick}
	}
	return Request{Name: l.Name, Payload: l.Payload, Options: Options{
		ID: l.ID, Queue: l.Queue, Group: l.Group, Priority: l.Priority, At: l.Due, In: queue.Duration(l.In), Deadline: l.Deadline,
		Unique: l.Unique, UniqueFor: queue.Duration(l.UniqueFor), After: l.After, Meta: l.Meta, MaxAttempts: l.MaxAttempts,
		Timeout: queue.Duration(l.Timeout), Backoff: queue.Duration(l.Backoff), MaxBackoff: queue.Duration(l.MaxBackoff),
		Retention: queue.Duration(l.Retention), AnyName: true, carried: carried,
	}}
}

// maxLine bounds a line of an import, in bytes: a payload and what may stand beside it.
const maxLine = MaxPayload + 1<<20

// Import enqueues what [Inspector.Export] wrote, in bounded memory. A task whose id or unique key is taken is left
// out: an import that ended early can be repeated, as long as the tasks are stored, and 24 h after they are done. Deadlines,
// due times and limits of queues count as for any task. The error names the line that cannot be
// read; those before it are stored. If a queue is full, the error is an [ErrQueueFull].
func (c *Client) Import(ctx context.Context, r io.Reader, o TransferOptions) (done Transfer, err error) {
	x := &imports{client: c, in: bufio.NewReader(r)}
	for receipt, err := range c.EnqueueSeq(ctx, x.requests) {
		switch {
		case err != nil:
			return done, fmt.Errorf("import tasks: %w", err)
		case receipt.Duplicate:
			done.Existing++
		case receipt.ID != "":
			done.Tasks++
		}
		done.Bytes = x.bytes
		if o.Report != nil {
			o.Report(done)
		}
	}
	if x.err != nil {
		return done, fmt.Errorf("import tasks: line %d: %w", x.line, x.err)
	}
	return done, nil
}

// imports reads the lines of an import.
type imports struct {
	client *Client
	in     *bufio.Reader
	line   int // the last one that was read
	bytes  int64
	err    error // of that line
}

// requests yields the tasks up to the end, or to a line that cannot be read.
func (i *imports) requests(yield func(Request) bool) {
	for {
		text, err := link.ReadLine(i.in, maxLine)
		i.line++
		i.bytes += int64(len(text))
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			if i.err = err; errors.Is(err, link.ErrLongLine) {
				i.err = fmt.Errorf("%w: %w", ErrInvalid, err)
			}
			return
		}
		if len(bytes.TrimSpace(text)) > 0 {
			var request Request
			if request, i.err = i.client.parseLine(text); i.err != nil || !yield(request) {
				return
			}
		}
		if end {
			return
		}
	}
}

// parseLine returns the task of a line. The error is an [ErrInvalid], or says what Redis would not take.
func (c *Client) parseLine(text []byte) (Request, error) {
	var l line
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return Request{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch {
	case d.More():
		return Request{}, fmt.Errorf("%w: more than one object", ErrInvalid)
	case l.ID == "":
		return Request{}, fmt.Errorf("%w: it has no id", ErrInvalid)
	case l.Payload == nil:
		return l.request(), fmt.Errorf("%w: it has no payload", ErrInvalid)
	}
	r := l.request()
	_, err := c.prepare(r.Name, r.Payload, r.Options) // so that the line is named
	return r, err
}
