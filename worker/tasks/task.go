package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// State is where a task is.
type State string

// The states of a task.
const (
	Pending   State = "pending"   // in its queue
	Parked    State = "parked"    // pending, but no node that claimed it handles tasks of its name
	Delayed   State = "delayed"   // waits for its time, also of its next attempt
	Blocked   State = "blocked"   // waits for tasks that must be done before
	Active    State = "active"    // in the hands of a node
	Done      State = "done"      // completed and still remembered
	Dead      State = "dead"      // failed for the last time, or quarantined
	Cancelled State = "cancelled" // by somebody, or because it waited for one that was
)

// Bounds of the dead and of the cancelled tasks that are kept, of each kind: beyond
// the number the oldest are forgotten, and all that ended longer ago.
const (
	KeepDead    = 10_000
	KeepDeadFor = 90 * 24 * time.Hour
)

// States lists them, in the order of a task's life.
func States() []State {
	return []State{Pending, Parked, Delayed, Blocked, Active, Done, Dead, Cancelled}
}

// Task is everything that is known of a task. Times are Redis's.
type Task struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Queue    string            `json:"queue"`
	Priority Priority          `json:"priority"`
	State    State             `json:"state"`
	Enqueued time.Time         `json:"enqueued,omitzero"`
	Due      time.Time         `json:"due,omitzero"`      // of a delayed one
	Ended    time.Time         `json:"ended,omitzero"`    // of a dead or cancelled one, and of a done one with a retention
	Kept     time.Time         `json:"kept,omitzero"`     // until when a done one is remembered
	Deadline time.Time         `json:"deadline,omitzero"` // see [Options]
	Unique   string            `json:"unique,omitempty"`
	After    []string          `json:"after,omitempty"`   // must be done before it
	Blocking int               `json:"waiting,omitempty"` // how many of these are not
	Meta     map[string]string `json:"meta,omitempty"`
	Attempts int               `json:"attempts"`
	Crashes  int               `json:"crashes"`
	Payload  json.RawMessage   `json:"payload,omitempty"`
	Result   json.RawMessage   `json:"result,omitempty"`
	Reason   *Reason           `json:"reason,omitempty"` // of a dead or cancelled one
	// Omitted are the names in JSON of the fields that were left out: a payload that
	// is not JSON, and what would not fit into an answer of api.tasks.*.
	Omitted []string `json:"omitted,omitempty"`

	// The following are set by [Inspector.Get] only.

	Node       string    `json:"node,omitempty"`       // the incarnation that has it in hand
	Position   *int64    `json:"position,omitempty"`   // how many of its queue go before it
	Cancelling bool      `json:"cancelling,omitempty"` // it runs, and is to be cancelled
	Progress   *Progress `json:"progress,omitempty"`
	History    []Event   `json:"history,omitempty"` // the last 20, oldest first
}

// Reason is why a task is dead or cancelled.
type Reason struct {
	Reason      string `json:"reason"` // failed, discarded, panicked, deadline, malformed, quarantined; cancelled
	Error       string `json:"error"`
	Incarnation string `json:"incarnation,omitempty"` // of the node that ran it last
}

// Event is something that happened to a task.
type Event struct {
	At      time.Time `json:"at,omitzero"`
	What    string    `json:"what,omitempty"` // failed, crashed, dead, cancelled, retried or done
	Attempt int       `json:"attempt,omitempty"`
	Node    string    `json:"node,omitempty"` // the incarnation
	Error   string    `json:"error,omitempty"`
}

// Get returns what is known of a task, or [ErrNotFound]. To find a pending one's
// position takes Redis a time in proportion to its queue's length.
func (i *Inspector) Get(ctx context.Context, id string) (Task, error) {
	shown, stored, err := i.store.Show(ctx, id)
	if err != nil {
		return Task{}, fmt.Errorf("task %s: %w", id, err)
	}
	if !stored {
		return Task{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	t := describe(id, State(shown.State), shown.Record, shown.Tries, shown.Reason)
	if shown.Result != "" {
		t.Result = json.RawMessage(shown.Result)
	}
	if shown.Progress != "" {
		t.Progress = &Progress{}
		_ = json.Unmarshal([]byte(shown.Progress), t.Progress)
	}
	t.History = parseHistory(shown.History)
	t.endedWith(t.History)
	t.stamp(shown.Time)
	t.Node, t.Cancelling = shown.Node, shown.Cancelling
	if n, err := strconv.ParseInt(shown.Position, 10, 64); err == nil {
		t.Position = &n
	}
	t.Blocking, _ = strconv.Atoi(shown.Blocking)
	t.omitInvalid()
	return t, nil
}

// describe makes a task of the texts that Redis keeps; any of them may be empty.
func describe(id string, state State, text, triesText, reason string) Task {
	t := Task{ID: id, State: state}
	if text != "" {
		r, _ := queue.ParseRecord(text) // as much as can be read
		t.Name, t.Queue, t.Enqueued, t.Payload = r.Name, r.Queue(), r.Enqueued, r.Payload
		t.Unique, t.After = r.Options.Unique, r.Options.After
		t.Meta = r.Options.Meta
		if ms := r.Options.Deadline; ms > 0 {
			t.Deadline = time.UnixMilli(ms)
		}
		switch {
		case strings.HasSuffix(r.Line, queue.HighMark):
			t.Priority = High
		case strings.HasSuffix(r.Line, queue.LowMark):
			t.Priority = Low
		}
	}
	n := queue.ParseTries(triesText)
	t.Attempts, t.Crashes = n.Attempts, n.Crashes
	if reason != "" {
		why := parseReason(reason)
		t.Reason = &why
	}
	return t
}

// omitInvalid leaves out a payload that is not JSON: another program wrote it, and a
// task with it could not be written as JSON.
func (t *Task) omitInvalid() {
	if len(t.Payload) > 0 && !json.Valid(t.Payload) {
		t.Payload, t.Omitted = nil, append(t.Omitted, "payload")
	}
}

// stamp sets the time that belongs to the state.
func (t *Task) stamp(score string) {
	f, err := strconv.ParseFloat(score, 64)
	if err != nil {
		return
	}
	switch at := time.UnixMilli(int64(f)); t.State {
	case Delayed:
		t.Due = at
	case Dead, Cancelled:
		t.Ended = at
	case Done:
		t.Kept = at
	case Pending, Parked, Blocked, Active: // these have no time of their own
	}
}

// endedWith takes the time of a done task's end from its history.
func (t *Task) endedWith(events []Event) {
	if n := len(events); t.State == Done && n > 0 {
		t.Ended = events[n-1].At
	}
}

func parseHistory(text string) []Event {
	var events []Event
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 3)
		if len(f) != 3 {
			continue
		}
		var e Event
		var why Reason // an end is written as its reason
		_ = json.Unmarshal([]byte(f[2]), &e)
		_ = json.Unmarshal([]byte(f[2]), &why)
		e.At, e.What, e.Node = queue.Time(f[0]), f[1], cmp.Or(e.Node, why.Incarnation)
		events = append(events, e)
	}
	return events
}

// validText reports whether Redis can keep the text inside JSON as it is.
func validText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
