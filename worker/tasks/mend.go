package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// mending is an operation on tasks, such as cancel. words are the script's answers for a
// task on which the operation succeeded.
type mending struct {
	verb  string
	words []string
	do    func(ctx context.Context, ids []string) ([]string, error)
}

// one applies the operation to one task. If the script's answer is not one of the words of
// success, one returns an error.
func (m mending) one(ctx context.Context, i *Inspector, id string) (word string, err error) {
	words, err := m.do(ctx, []string{id})
	if err != nil {
		return "", fmt.Errorf("%s tasks: %w", m.verb, err)
	}
	if slices.Contains(m.words, words[0]) {
		return words[0], nil
	}
	err = map[string]error{
		"active": ErrActive, "taken": errors.New("another task has its unique key"),
		"broken": errors.New("a key of its queue on Redis belongs to something else: rename or delete that"),
	}[words[0]]
	if err == nil {
		err = i.refusal(ctx, id, words[0])
	}
	return "", fmt.Errorf("%s task %s: %w", m.verb, id, err)
}

// other is the scripts' word for a task in a state in which the operation is not possible.
const other = "other"

// refusal returns the error for a script's answer that is about the task's state. Where the
// answer does not say the state, refusal looks it up.
func (i *Inspector) refusal(ctx context.Context, id, word string) error {
	if word == other || word == queue.Gone {
		shown, stored, err := i.store.Show(ctx, id)
		switch {
		case err != nil:
			return err
		case !stored, word == queue.Gone && State(shown.State) != Done: // only the id of a done task may be left
			return ErrNotFound
		}
		word = shown.State
	}
	return fmt.Errorf("%w: it is %s", ErrState, word)
}

// all applies the operation to the tasks that a filter selects, and returns on how many
// tasks it succeeded.
func (m mending) all(ctx context.Context, i *Inspector, f Filter) (int, error) {
	if err := f.selects(); err != nil {
		return 0, fmt.Errorf("%s tasks: %w", m.verb, err)
	}
	f.idsOnly = true
	var ids []string
	for t, err := range i.List(ctx, f) {
		if err != nil {
			return 0, err
		}
		ids = append(ids, t.ID)
	}
	words, err := m.do(ctx, ids)
	if err != nil {
		err = fmt.Errorf("%s tasks: %w", m.verb, err)
	}
	n := 0
	for _, w := range words {
		if slices.Contains(m.words, w) {
			n++
		}
	}
	if n > 0 {
		f.idsOnly = false
		i.changed(ctx, Change{Kind: ChangeKind(m.verb), Queue: f.Queue, Tasks: n, Text: asText("tasks", f)})
	}
	return n, err
}

func (i *Inspector) cancelling(by string) mending {
	reason, _ := json.Marshal(Reason{Reason: string(Cancelled), Error: queue.Clip(by, 500)}) // strings: it cannot fail
	return mending{"cancel", []string{string(Cancelled), queue.Asked}, func(ctx context.Context, ids []string) ([]string, error) {
		return i.store.Cancel(ctx, ids, reason)
	}}
}

func (i *Inspector) deleting() mending { return mending{"delete", []string{"deleted"}, i.store.Delete} }

func (i *Inspector) retrying() mending { return mending{"retry", []string{"retried"}, i.store.Retry} }

// Cancel cancels a task in any place. A waiting task is cancelled at once. A running task
// is asked to end, and running is true: its handler's context ends with [ErrCancelled]. If
// the handler then returns an error, the task is cancelled; if it returns nil, the task is
// done. by says who cancelled the task or why; it is stored as the task's reason.
func (i *Inspector) Cancel(ctx context.Context, id, by string) (running bool, err error) {
	word, err := i.cancelling(by).one(ctx, i, id)
	return word == queue.Asked, err
}

// CancelAll cancels all tasks that a filter selects. It returns how many tasks were
// cancelled or, if they run, asked to end. The error is [ErrInvalid] for the zero Filter (see
// [Filter.All]).
func (i *Inspector) CancelAll(ctx context.Context, f Filter, by string) (int, error) {
	return i.cancelling(by).all(ctx, i, f)
}

// Delete removes a task and all its data. The error is [ErrActive] if the task runs.
func (i *Inspector) Delete(ctx context.Context, id string) error {
	_, err := i.deleting().one(ctx, i, id)
	return err
}

// DeleteAll deletes all tasks that a filter selects and that do not run. It returns how
// many tasks it deleted. The error is [ErrInvalid] for the zero Filter (see [Filter.All]).
func (i *Inspector) DeleteAll(ctx context.Context, f Filter) (int, error) {
	return i.deleting().all(ctx, i, f)
}

// Retry moves a dead or cancelled task back to its queue, as if the task were new. The task
// does not wait again for the tasks of its [Options].After, and goes on after the steps that have
// ended; [Inspector.Rerun] forgets these.
func (i *Inspector) Retry(ctx context.Context, id string) error {
	_, err := i.retrying().one(ctx, i, id)
	return err
}

// RetryAll retries all tasks that a filter selects; a filter without states selects the
// dead tasks. It returns how many tasks were retried. The error is [ErrInvalid] for the zero
// Filter (see [Filter.All]).
func (i *Inspector) RetryAll(ctx context.Context, f Filter) (int, error) {
	if len(f.States) == 0 && f.selects() == nil {
		f.States = []State{Dead}
	}
	return i.retrying().all(ctx, i, f)
}

// Edit is a change of a task. Fields that are not set leave the task as it is.
type Edit struct {
	// Payload is encoded as JSON; a json.RawMessage is stored as it is. It is not seen by
	// middleware for enqueues, such as one that encrypts. nil leaves the payload; json.RawMessage("null") is null.
	Payload any
	// Queue is the queue to which the task moves, whatever the limits of that are. It goes to the end, and counts as
	// deleted from its queue and enqueued in the other.
	Queue string
	// Group is its new group ([Options].Group); it goes to the end of that. nil leaves the group, empty is none.
	Group *string
	// Priority is its new priority in the queue; the task goes to the end of those of that priority.
	Priority *Priority
}

// Edit changes a task that waits, for whatever, or that is dead or cancelled. A payload alone leaves the task where
// it is. The error is [ErrActive] if the task runs, and [ErrState] if it is done.
func (i *Inspector) Edit(ctx context.Context, id string, e Edit) error {
	var change queue.Edit
	var errs []error
	if change.Queue = e.Queue; e.Queue != "" {
		errs = append(errs, checkName("queue", e.Queue))
	}
	if e.Priority != nil {
		mark := e.Priority.mark()
		change.Mark = &mark
		errs = append(errs, e.Priority.validate())
	}
	if change.Group = e.Group; e.Group != nil && (len(*e.Group) > maxGroup || !validText(*e.Group)) {
		errs = append(errs, fmt.Errorf("%w: group %.220q: use at most %d bytes of UTF-8", ErrInvalid, *e.Group, maxGroup))
	}
	if e.Payload != nil {
		payload, err := encode(e.Payload)
		change.Payload = payload
		errs = append(errs, err)
	}
	if e.Queue == "" && e.Priority == nil && e.Group == nil && e.Payload == nil {
		errs = append(errs, fmt.Errorf("%w: say what: a payload, queue, group or priority", ErrInvalid))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("edit task %s: %w", id, err)
	}
	editing := mending{"edit", []string{"edited"}, func(ctx context.Context, ids []string) ([]string, error) {
		word, err := i.store.Edit(ctx, ids[0], change)
		return []string{word}, err
	}}
	_, err := editing.one(ctx, i, id)
	return err
}

// Reschedule changes when a delayed task is due, on Redis's clock; a time that has
// passed, the zero time too, means now. A [Sleep] of the task is over then, too.
func (i *Inspector) Reschedule(ctx context.Context, id string, at time.Time) error {
	if err := checkTime("the due time", at); err != nil {
		return fmt.Errorf("reschedule task %s: %w", id, err)
	}
	when := ""
	if !at.IsZero() {
		when = "@" + strconv.FormatInt(queue.Until(at), 10)
	}
	return i.reschedule(ctx, id, when)
}

// RescheduleIn is [Inspector.Reschedule] with the due time d from now.
func (i *Inspector) RescheduleIn(ctx context.Context, id string, d time.Duration) error {
	return i.reschedule(ctx, id, "+"+strconv.FormatInt(queue.Milliseconds(max(d, 0)), 10))
}

func (i *Inspector) reschedule(ctx context.Context, id, when string) error {
	word, err := i.store.Reschedule(ctx, id, when)
	switch {
	case err != nil:
		return fmt.Errorf("reschedule task %s: %w", id, err)
	case word == queue.Gone:
		return fmt.Errorf("reschedule task %s: %w", id, i.refusal(ctx, id, word))
	case word == other:
		return fmt.Errorf("reschedule task %s: %w, not delayed", id, i.refusal(ctx, id, word))
	default:
		return nil
	}
}
