package tasks

import (
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// MaxPayload is the largest payload in bytes.
const MaxPayload = 16 << 20

// DedupeWindow is how long the id of a completed task stays taken, when the
// caller chose it.
const DedupeWindow = 24 * time.Hour

// DefaultRetention is how long a result is kept that is wanted where nothing else says.
const DefaultRetention = 10 * time.Minute

// Bounds of [Options].
const (
	maxUnique = 200  // bytes of a unique key
	maxAfter  = 1000 // tasks that one waits for
	maxThen   = 100  // levels of tasks that follow each other
)

// Priority is which of a queue's tasks go first. Those of equal priority run in
// the order of their enqueue.
type Priority int

// The priorities. A queue's urgent tasks all go before its others; queues
// themselves are ordered by the nodes that serve them.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
)

// mark returns what the name of a line ends with.
func (p Priority) mark() string {
	switch p {
	case High:
		return queue.HighMark
	case Low:
		return queue.LowMark
	default:
		return ""
	}
}

// Options of one task. Every zero value means the definition's, or none.
//
// Their names in JSON and their order are those of the arguments of
// api.tasks.enqueue, in which durations are milliseconds: add an option at the end.
type Options struct {
	// Queue instead of the definition's.
	Queue string `json:"queue,omitempty"`
	// ID makes the enqueue idempotent: while a task with this id is stored, and
	// for [DedupeWindow] after its completion, the same id is not accepted
	// again. Default a new one.
	ID string `json:"id,omitempty"`
	// In delays the task by that much on Redis's clock, At until that time. At
	// most one of them.
	In time.Duration `json:"in,omitempty"`
	At time.Time     `json:"at,omitzero"`
	// Deadline on Redis's clock: a task that has not begun by then is dead, a
	// handler's context ends then, and there are no further attempts.
	Deadline time.Time `json:"deadline,omitzero"`
	// Priority within its queue.
	Priority Priority `json:"priority,omitempty"`
	// MaxAttempts, Timeout (of a run), Backoff, MaxBackoff and Retention instead of
	// the definition's.
	MaxAttempts int           `json:"maxAttempts,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	Backoff     time.Duration `json:"backoff,omitempty"`
	MaxBackoff  time.Duration `json:"maxBackoff,omitempty"`
	Retention   time.Duration `json:"retention,omitempty"`
	// WantResult keeps the result for [DefaultRetention] where neither Retention
	// nor the definition says for how long.
	WantResult bool `json:"wantResult,omitempty"`
	// Unique is a key, up to 200 bytes of UTF-8, that only one stored task has at
	// a time: another is not accepted until this one is done, dead, cancelled or
	// deleted, or, with UniqueFor, for that long from its enqueue, whatever
	// becomes of it.
	Unique    string        `json:"unique,omitempty"`
	UniqueFor time.Duration `json:"uniqueFor,omitempty"`
	// After are the ids of at most 1,000 tasks that must be done before this one
	// runs. A dead one holds it up until it is tried again; with one that is
	// cancelled or deleted it is cancelled. An id that is not stored (any more)
	// counts as done: a completed task is forgotten unless it has a retention or
	// an id of the caller's choice.
	After []string `json:"after,omitempty"`
	// Meta is kept beside the payload, such as a tenant or the place in a trace, and
	// handed to every run ([Info].Meta). [link.ValidMeta] has the bounds.
	Meta map[string]string `json:"meta,omitempty"`

	drawn bool // the id was not the caller's choice
}

// Receipt is what an accepted enqueue returns.
type Receipt struct {
	// ID of the task; when its unique key was taken, of the task that has the key.
	ID string `json:"id"`
	// Duplicate: a task with this id or unique key was accepted before; this one
	// was not stored.
	Duplicate bool `json:"duplicate"`
}

// Request is one task for [Client.EnqueueMany].
type Request struct {
	Name    string
	Payload any // encoded as JSON; a json.RawMessage is stored as it is
	Options
	// Then are tasks that run when this one is done. Their ids are its id with
	// ".then.1", … where they have none. With a task that is not stored, because its
	// queue is full or its unique key taken, they are not stored either, and have
	// its receipt.
	Then []Request
}

// none reports whether nothing is asked for but a queue.
func (o Options) none() bool {
	return o.ID == "" && o.Priority == Normal && o.Unique == "" && len(o.After)+len(o.Meta) == 0 && !o.WantResult &&
		o.At.IsZero() && o.Deadline.IsZero() && o.MaxAttempts == 0 &&
		o.In|o.Timeout|o.Backoff|o.MaxBackoff|o.Retention|o.UniqueFor == 0
}

func (o Options) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	check(o.In == 0 || o.At.IsZero(), "use In or At, not both")
	errs = append(errs, o.Priority.validate())
	check(o.MaxAttempts >= 0, "MaxAttempts cannot be negative")
	check(min(o.Timeout, o.Retention, o.Backoff, o.MaxBackoff, o.UniqueFor) >= 0,
		"Timeout, Retention, Backoff, MaxBackoff and UniqueFor cannot be negative")
	check(o.UniqueFor == 0 || o.Unique != "", "UniqueFor needs a key in Unique")
	check(len(o.Unique) <= maxUnique && validText(o.Unique), "Unique %.220q: use at most %d bytes of UTF-8", o.Unique, maxUnique)
	check(len(o.After) <= maxAfter, "After names %d tasks, at most %d: put tasks that gather some of them in between", len(o.After), maxAfter)
	for _, id := range o.After {
		errs = append(errs, checkName("After", id))
		check(id != o.ID, "After names the task itself")
	}
	err := link.ValidMeta(o.Meta)
	check(err == nil, "%w", err)
	return errors.Join(errs...)
}

// record returns the options as they are stored.
func (o Options) record(chosen bool) queue.Options {
	out := queue.Options{
		MaxAttempts: o.MaxAttempts, Timeout: o.Timeout.Milliseconds(), Retention: o.Retention.Milliseconds(),
		Backoff: o.Backoff.Milliseconds(), MaxBackoff: o.MaxBackoff.Milliseconds(), Chosen: chosen,
		Unique: o.Unique, UniqueFor: queue.Milliseconds(o.UniqueFor), In: queue.Milliseconds(max(o.In, 0)), After: o.After,
		Meta: o.Meta,
	}
	if !o.At.IsZero() {
		out.At = roundUpTime(o.At)
	}
	if !o.Deadline.IsZero() {
		out.Deadline = o.Deadline.UnixMilli()
	}
	return out
}

func roundUpTime(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }
