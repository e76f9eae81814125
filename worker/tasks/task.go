package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// State is the state of a task: the place that holds its id (see the package's comment).
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
	Cancelled State = "cancelled" // by a user, or because it waited for a task that was cancelled or deleted
)

// KeepDead is how many dead tasks, and how many cancelled tasks, are kept: beyond this
// number the oldest are forgotten. KeepDeadFor is how long after its end such a task is
// forgotten in any case.
const (
	KeepDead    = 10_000
	KeepDeadFor = 90 * 24 * time.Hour
)

// States returns all states, in the order of a task's life.
func States() []State {
	return []State{Pending, Parked, Delayed, Blocked, Active, Done, Dead, Cancelled}
}

// Task is a task with its state. Times are on Redis's clock.
type Task struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Queue    string            `json:"queue"`
	Group    string            `json:"group,omitempty"`
	Priority Priority          `json:"priority"`
	State    State             `json:"state"`
	Enqueued time.Time         `json:"enqueuedAt,omitzero"`
	Due      time.Time         `json:"dueAt,omitzero"`      // of a delayed task
	Ended    time.Time         `json:"endedAt,omitzero"`    // of a dead or cancelled task, and of a done task with a retention
	Kept     time.Time         `json:"expiresAt,omitzero"`  // until when a done task is remembered
	Deadline time.Time         `json:"deadlineAt,omitzero"` // see [Options]
	Tick     time.Time         `json:"tickAt,omitzero"`     // of the periodic task that this is a run of
	Unique   string            `json:"unique,omitempty"`
	After    []string          `json:"after,omitempty"`   // ids of tasks that must be done before this task
	Blocking int               `json:"waiting,omitempty"` // how many tasks of After are not done
	Meta     map[string]string `json:"meta,omitempty"`
	Attempts int               `json:"attempts"`
	Crashes  int               `json:"crashes"`
	Payload  json.RawMessage   `json:"payload,omitempty"`
	Result   json.RawMessage   `json:"result,omitempty"`
	Reason   *Reason           `json:"reason,omitempty"` // of a dead or cancelled task
	Death    *Death            `json:"death,omitempty"`  // of the task of a hook, see [OnDead]
	// Omitted are the names in JSON of the fields that were left out: a payload or a
	// result that is not JSON, and what would not fit into an answer of api.tasks.*.
	Omitted []string `json:"omitted,omitempty"`

	// The following are set by [Inspector.Get] only.

	Node       string    `json:"node,omitempty"`       // the incarnation that owns the running task
	Run        *Run      `json:"run,omitempty"`        // of a running task
	Position   *int64    `json:"position,omitempty"`   // how many tasks of its group, or else of its queue, go before this task
	About      bool      `json:"about,omitempty"`      // Position is an estimate: the task is deep in a long line
	Cancelling bool      `json:"cancelling,omitempty"` // the task runs, and its cancellation was requested
	Progress   *Progress `json:"progress,omitempty"`
	// Steps are the steps and sleeps that have ended, in their order (see [Step]), and Checkpoint is
	// what the last [Checkpoint] has stored. Both go when the task is done.
	Steps      []EndedStep  `json:"steps,omitempty"`
	Checkpoint *StoredState `json:"checkpoint,omitempty"`
	// History has the last 20 events, oldest first, and among them the last 20 of Steps and Checkpoint.
	History []Event `json:"history,omitempty"`

	options  queue.Options
	body     queue.BodyRef // of a large payload that has not been read yet
	retained time.Time     // until when the record of a done task is kept, which older programs do not note there
	ranOn    string        // of such a task: the incarnation that ran it, without its random part
}

// Run describes the run of a task that a node has in hand.
type Run struct {
	// Since is when the node claimed the task: a moment before its handler began, or when it was gathered for a [Batch].
	Since   time.Time `json:"startedAt,omitzero"`
	Attempt int       `json:"attempt"` // 1 in the first run
	// MaxAttempts and Timeout (in milliseconds) are those of the task's options, or of the
	// definition that a program has published. 0: none, or not known.
	MaxAttempts int   `json:"maxAttempts,omitempty"`
	Timeout     int64 `json:"timeoutMs,omitempty"`
}

// completeRun sets what the task's options do not say, as far as the defaults of its queue or a published
// definition do.
func (i *Inspector) completeRun(ctx context.Context, name, of string, r *Run) {
	if r.MaxAttempts > 0 && r.Timeout > 0 {
		return
	}
	all, _, _ := i.store.Definitions(ctx, "") // after an error they are not known: the task is shown all the same
	set, _ := i.store.DefaultsOf(ctx, of)
	r.MaxAttempts = cmp.Or(r.MaxAttempts, set.MaxAttempts, all[name].MaxAttempts)
	r.Timeout = cmp.Or(r.Timeout, set.Timeout, all[name].Timeout)
}

// String returns the run in words, such as "attempt 2 of 5, since 2026-03-01T09:00:00Z, timeout 30s".
func (r Run) String() string {
	text := fmt.Sprintf("attempt %d", r.Attempt)
	if r.MaxAttempts > 0 {
		text += fmt.Sprintf(" of %d", r.MaxAttempts)
	}
	if !r.Since.IsZero() { // zero: a node of an older version claimed it
		text += ", since " + r.Since.UTC().Format(time.RFC3339)
	}
	if r.Timeout > 0 {
		text += ", timeout " + r.timeout().String()
	}
	return text
}

func (r Run) timeout() time.Duration { return time.Duration(r.Timeout) * time.Millisecond }

// Reason is why a task is dead or cancelled.
type Reason struct {
	Reason      string `json:"reason"` // failed, discarded, panicked, deadline, malformed, quarantined; cancelled
	Error       string `json:"error"`
	Incarnation string `json:"incarnation,omitempty"` // of the node that ran it last
}

// Event is an entry of a task's history.
type Event struct {
	At      time.Time `json:"at,omitzero"`
	What    string    `json:"what,omitempty"` // failed, crashed, dead, cancelled, retried, rerun, edited or done; step, sleep or checkpoint
	Step    string    `json:"step,omitempty"` // that ended or began to sleep, or from which the task was to run again
	Attempt int       `json:"attempt,omitempty"`
	Node    string    `json:"node,omitempty"` // the incarnation; of a task that ran only once without what follows the colon
	Error   string    `json:"error,omitempty"`
}

// Get returns a task with all its data, or [ErrNotFound]. For a pending task, Redis needs
// time in proportion to the length of the queue, to find the task's position.
func (i *Inspector) Get(ctx context.Context, id string) (Task, error) {
	shown, stored, err := i.store.Show(ctx, id)
	if err != nil {
		return Task{}, fmt.Errorf("task %s: %w", id, err)
	}
	if !stored {
		return Task{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	t := describe(id, State(shown.State), shown.Record, shown.Tries, shown.Reason)
	if err := i.readPayloads(ctx, []*Task{&t}); err != nil {
		return Task{}, fmt.Errorf("task %s: %w", id, err)
	}
	if shown.Result != "" {
		t.Result = json.RawMessage(shown.Result)
	}
	if shown.Progress != "" {
		t.Progress = &Progress{}
		_ = json.Unmarshal([]byte(shown.Progress), t.Progress)
	}
	t.History = parseHistory(shown.History)
	t.endedWith(t.History)
	t.completeHistory()
	t.withSteps(shown.Steps)
	t.stamp(shown.Time)
	t.Node, t.Cancelling = shown.Node, shown.Cancelling
	if t.State == Active {
		r, _ := queue.ParseRecord(shown.Record)
		t.Run = &Run{
			Since: queue.Time(shown.Since), Attempt: t.Attempts + 1, MaxAttempts: r.Options.MaxAttempts, Timeout: r.Options.Timeout,
		}
		i.completeRun(ctx, t.Name, t.Queue, t.Run)
	}
	if n, err := strconv.ParseInt(shown.Position, 10, 64); err == nil {
		t.Position, t.About = &n, shown.About
	}
	t.Blocking, _ = strconv.Atoi(shown.Blocking)
	t.omitInvalid()
	return t, nil
}

// describe parses the texts that Redis stores of a task; any of them may be empty.
func describe(id string, state State, text, triesText, reason string) Task {
	t := Task{ID: id, State: state}
	if text != "" {
		r, _ := queue.ParseRecord(text) // as much as can be read
		t.Name, t.Queue, t.Enqueued, t.Payload, t.body = r.Name, r.Queue(), r.Enqueued, r.Payload, r.Body
		t.Unique, t.After, t.options = r.Options.Unique, r.Options.After, r.Options
		t.Meta, t.Group, t.Death, t.Tick = r.Options.Meta, r.Group(), deathOf(r.Options.Death), tickOf(r.Options)
		t.Ended, t.Kept, t.retained, t.ranOn = r.Ended, r.Kept, r.Kept, r.Node
		if ms := r.Options.Deadline; ms > 0 {
			t.Deadline = queue.TimeOf(ms)
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

// readPayloads reads the large payloads of tasks. One that has gone meanwhile, with its task,
// is omitted.
func (i *Inspector) readPayloads(ctx context.Context, tasks []*Task) error {
	var refs []queue.BodyRef
	var of []*Task
	for _, t := range tasks {
		if t.body != (queue.BodyRef{}) {
			refs, of = append(refs, t.body), append(of, t)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	payloads, errs, err := queue.Bodies(ctx, i.redis, i.keys, refs)
	if err != nil {
		return err
	}
	for n, t := range of {
		t.body = queue.BodyRef{}
		if t.Payload = payloads[n]; errs[n] != nil {
			t.Omitted = append(t.Omitted, "payload")
		}
	}
	return nil
}

// omitInvalid leaves out a payload and a result that are not JSON: another program wrote
// them, and a task with them could not be written as JSON.
func (t *Task) omitInvalid() {
	if len(t.Payload) > 0 && !validJSON(t.Payload) {
		t.Payload, t.Omitted = nil, append(t.Omitted, "payload")
	}
	if len(t.Result) > 0 && !validJSON(t.Result) {
		t.Result, t.Omitted = nil, append(t.Omitted, "result")
	}
}

// stamp sets the time that belongs to the state.
func (t *Task) stamp(score string) {
	f, err := strconv.ParseFloat(score, 64)
	if err != nil {
		return
	}
	switch at := queue.TimeOf(int64(f)); t.State {
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

// completeHistory adds the end of a task that is done, which only its record tells if it ran once.
func (t *Task) completeHistory() {
	if n := len(t.History); t.ranOn != "" && (n == 0 || t.History[n-1].What != string(Done)) {
		t.History = append(t.History, Event{At: t.Ended, What: string(Done), Node: t.ranOn})
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
	rank := func(e Event) int {
		switch queue.NoteKind(e.What) {
		case queue.StepNote, queue.SleepNote, queue.StateNote:
			return 0
		default:
			return 1
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { // steps are noted when they are forgotten
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(rank(a), rank(b)))
	})
	return events
}

// validText reports whether Redis can keep the text inside JSON as it is.
func validText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
