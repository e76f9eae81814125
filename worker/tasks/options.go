package tasks

import (
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Bounds in bytes. Store larger data elsewhere, and enqueue or return where it is.
const (
	// MaxPayload bounds the payload of a task.
	MaxPayload = 16 << 20
	// MaxResult bounds the result of a task, and each value that a transaction saves or
	// pushes.
	MaxResult = 16 << 20
	// MaxTransaction bounds all that a transaction writes, the result included.
	MaxTransaction = queue.MaxTransaction
)

// MaxEffects is how many writes, follow-up tasks and messages a transaction may have.
const MaxEffects = queue.MaxEffects

// DedupeWindow is how long after a task's completion its id stays taken, if the caller
// chose the id.
const DedupeWindow = 24 * time.Hour

// DefaultRetention is how long a result is kept for [Options].WantResult if neither the
// options nor the definition set a retention.
const DefaultRetention = 10 * time.Minute

// Bounds of [Options].
const (
	maxUnique = 200  // bytes of a unique key
	maxGroup  = 200  // bytes of a group
	maxAfter  = 1000 // tasks that one task waits for
	maxThen   = 100  // levels of tasks that follow each other
)

// Priority orders the tasks of a queue. Tasks of equal priority start in the order of
// their enqueue.
type Priority int

// The priorities. All tasks of higher priority in a queue are claimed before the others; where some are in groups
// ([Options].Group), that holds within each group, and among those without one: they take turns.
// The order among queues is configured on the nodes that serve them.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
)

// mark returns the suffix of the line's name for the priority.
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

// Options are the options of one task. A zero field means the definition's value, or none.
//
// Their names in JSON and their order are those of the arguments of
// api.tasks.enqueue, in which durations are milliseconds: add an option at the end.
type Options struct {
	// Queue replaces the definition's queue.
	Queue string `json:"queue,omitempty"`
	// ID makes the enqueue idempotent: while a task with this id is stored, and
	// for [DedupeWindow] after its completion, the same id is not accepted
	// again. Default a new one.
	ID string `json:"id,omitempty"`
	// In delays the task by a duration from its enqueue, At until a time on Redis's
	// clock, in the year 9999 at the latest. Set at most one of them. Durations and
	// due times are rounded up to whole milliseconds.
	In time.Duration `json:"in,omitempty"`
	At time.Time     `json:"at,omitzero"`
	// Deadline is a time on Redis's clock, in the year 9999 at the latest. A task that
	// has not begun by then is dead, wherever it waits. The context of a running handler
	// ends then, and there are no further attempts.
	Deadline time.Time `json:"deadline,omitzero"`
	// Priority is the task's priority within its queue.
	Priority Priority `json:"priority,omitempty"`
	// MaxAttempts, Timeout (of a run), Backoff, MaxBackoff and Retention replace the
	// definition's values.
	MaxAttempts int           `json:"maxAttempts,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	Backoff     time.Duration `json:"backoff,omitempty"`
	MaxBackoff  time.Duration `json:"maxBackoff,omitempty"`
	Retention   time.Duration `json:"retention,omitempty"`
	// WantResult keeps the result for [DefaultRetention] if neither Retention nor the
	// definition sets a retention.
	WantResult bool `json:"wantResult,omitempty"`
	// Unique is a key, up to 200 bytes of UTF-8, that only one stored task has at a
	// time. Another task with the key is not accepted until this task is done, dead,
	// cancelled or deleted; or, with UniqueFor, until that time has passed since the
	// enqueue of this task, even if it has ended earlier.
	Unique    string        `json:"unique,omitempty"`
	UniqueFor time.Duration `json:"uniqueFor,omitempty"`
	// After are the ids of at most 1,000 tasks that must be done before this task
	// runs. If one of them is dead, this task waits until the dead task is retried. If
	// one of them is cancelled or deleted, this task is cancelled. An id that is not
	// stored (any more) counts as done: a completed task is forgotten unless it has a
	// retention or an id that the caller chose.
	After []string `json:"after,omitempty"`
	// Meta is kept beside the payload, such as a tenant or the place in a trace, and
	// handed to every run ([Info].Meta). [link.ValidMeta] has the bounds.
	Meta map[string]string `json:"meta,omitempty"`
	// Await says that a [Client.Wait] for the task follows. The script that stores the task
	// announces the wait, so that the task's end is remembered for a minute however soon it
	// comes. If the task is a duplicate, this goes for the task that has the id or key.
	// [Client.EnqueueAndWait] sets it.
	Await bool `json:"await,omitempty"`

	// AnyName stores the task although no program has defined a task of this name, by a
	// client that refuses such tasks ([NewClient]). Without Queue it goes to [DefaultQueue].
	AnyName bool `json:"anyName,omitempty"`

	// Group is up to 200 bytes of UTF-8, such as a tenant or an order. Tasks of a group begin in the
	// order of their priorities and then of their storing; those that are delayed or blocked take
	// their places when they become due. The groups of a queue take turns, and [Limits] bound
	// how many tasks of each run at a time and how often they begin.
	Group string `json:"group,omitempty"`

	drawn      bool           // the id was generated, not chosen by the caller
	definition *Definition    // of a task that was made with Define
	carried    *queue.Options // Death and Tick of a task that is imported
}

// Receipt is the result of an accepted enqueue.
type Receipt struct {
	// ID is the task's id or, if its unique key was taken, the id of the task that has
	// the key.
	ID string `json:"id"`
	// Duplicate: a task with this id or unique key was accepted before; this one
	// was not stored.
	Duplicate bool `json:"duplicate"`
}

// Request is one task for [Client.EnqueueMany].
type Request struct { //nolint:recvcheck // a value says whether it is to be encoded, which changes it
	Name    string
	Payload any // encoded as JSON; a json.RawMessage is stored as it is
	Options
	// Then are tasks that run when this task is done. A Then task without an id gets
	// this task's id followed by ".then.1", ".then.2", … If this task is not stored,
	// because its queue is full or its unique key is taken, its Then tasks are not
	// stored either, and have the same receipt.
	Then []Request
}

// none reports whether no option but Queue is set.
func (o Options) none() bool {
	return o.ID == "" && o.Priority == Normal && o.Unique == "" && o.Group == "" &&
		len(o.After)+len(o.Meta) == 0 && !o.WantResult && !o.Await &&
		o.At.IsZero() && o.Deadline.IsZero() && o.MaxAttempts == 0 && o.carried == nil &&
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
	errs = append(errs, checkTime("At", o.At), checkTime("Deadline", o.Deadline), o.Priority.validate())
	check(o.MaxAttempts >= 0, "MaxAttempts cannot be negative")
	check(min(o.Timeout, o.Retention, o.Backoff, o.MaxBackoff, o.UniqueFor) >= 0,
		"Timeout, Retention, Backoff, MaxBackoff and UniqueFor cannot be negative")
	check(o.UniqueFor == 0 || o.Unique != "", "UniqueFor needs a key in Unique")
	check(len(o.Unique) <= maxUnique && validText(o.Unique), "Unique %.220q: use at most %d bytes of UTF-8", o.Unique, maxUnique)
	check(len(o.Group) <= maxGroup && validText(o.Group),
		"Group %.220q: use at most %d bytes of UTF-8 without control characters", o.Group, maxGroup)
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
		MaxAttempts: o.MaxAttempts, Timeout: queue.Milliseconds(o.Timeout), Retention: queue.Milliseconds(o.Retention),
		Backoff: queue.Milliseconds(o.Backoff), MaxBackoff: queue.Milliseconds(o.MaxBackoff), Chosen: chosen,
		Unique: o.Unique, UniqueFor: queue.Milliseconds(o.UniqueFor), In: queue.Milliseconds(max(o.In, 0)), After: o.After,
		Meta: o.Meta,
	}
	if !o.At.IsZero() {
		out.At = queue.Until(o.At)
	}
	if !o.Deadline.IsZero() {
		out.Deadline = max(queue.Until(o.Deadline), 1) // 0 stands for none
	}
	if o.carried != nil {
		out.Death, out.Tick = o.carried.Death, o.carried.Tick
	}
	return out
}

// checkTime returns the error of a time that is too late to be stored.
func checkTime(what string, t time.Time) error {
	if latest := queue.Latest(); t.After(latest) {
		return fmt.Errorf("%w: %s %s is too late: use a time up to %s", ErrInvalid, what, t.Format(time.RFC3339Nano), latest.Format(time.RFC3339))
	}
	return nil
}
