package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// mendBatch is how many tasks one script cancels, deletes or tries again: it may
// have to look through whole queues for each.
const mendBatch = 50

// Words of the scripts about one task.
const (
	wordGone  = "gone"  // it is not stored
	wordAsked = "asked" // it runs, and is to be cancelled
)

// mend runs a script for some tasks and returns a word for each.
func (i *Inspector) mend(ctx context.Context, verb string, s *link.Script, ids []string, first ...any) ([]string, error) {
	words := make([]string, 0, len(ids))
	for some := range slices.Chunk(ids, mendBatch) {
		args := slices.Clone(first)
		for _, id := range some {
			args = append(args, id)
		}
		reply, err := s.Run(ctx, i.redis, []string{i.keys.Tasks()}, args...).Slice()
		if err == nil {
			err = protocolError(reply)
		}
		if err != nil {
			return words, fmt.Errorf("%s tasks: %w", verb, link.Explain(err))
		}
		words = append(words, texts(reply[1:])...)
	}
	return words, nil
}

// mendOne is mend for one task, whose word becomes an error unless it is one of good.
func (i *Inspector) mendOne(ctx context.Context, verb string, s *link.Script, id string, good []string, first ...any) (string, error) {
	words, err := i.mend(ctx, verb, s, []string{id}, first...)
	if err != nil {
		return "", err
	}
	if slices.Contains(good, words[0]) {
		return words[0], nil
	}
	err = map[string]error{
		wordGone: ErrNotFound, "active": ErrActive, "taken": errors.New("another task has its unique key"),
		"broken": errors.New("a key of its queue on Redis belongs to something else: rename or delete that"),
	}[words[0]]
	if err == nil {
		err = fmt.Errorf("%w: it is %s", ErrState, words[0])
	}
	return "", fmt.Errorf("%s task %s: %w", verb, id, err)
}

// Cancel cancels a task, wherever it is. One that waits is cancelled at once. One
// that runs is asked to end (running is true): its handler's context ends with
// [ErrCancelled], and it is cancelled when the handler returns an error; if that
// returns nil all the same, it is done. by says who or why, for those who look.
func (i *Inspector) Cancel(ctx context.Context, id, by string) (running bool, err error) {
	word, err := i.mendOne(ctx, "cancel", cancelScript, id, cancelWords, cancelReason(by))
	return word == wordAsked, err
}

// CancelAll cancels all tasks that a filter selects; it returns how many were
// cancelled or, where they run, asked to end.
func (i *Inspector) CancelAll(ctx context.Context, f Filter, by string) (int, error) {
	return i.mendAll(ctx, f, "cancel", cancelScript, cancelWords, cancelReason(by))
}

// cancelWords are those for tasks that are cancelled, or will be.
var cancelWords = []string{string(Cancelled), wordAsked}

func cancelReason(by string) []byte {
	text, _ := json.Marshal(Reason{Reason: string(Cancelled), Error: clip(by, 500)}) // strings: it cannot fail
	return text
}

var deleteWords = []string{"deleted"}

// Delete removes a task without a trace, in any state but while it runs:
// [ErrActive].
func (i *Inspector) Delete(ctx context.Context, id string) error {
	_, err := i.mendOne(ctx, "delete", deleteScript, id, deleteWords)
	return err
}

// DeleteAll deletes all tasks that a filter selects and that do not run, and
// returns how many.
func (i *Inspector) DeleteAll(ctx context.Context, f Filter) (int, error) {
	return i.mendAll(ctx, f, "delete", deleteScript, deleteWords)
}

// Retry brings a dead or cancelled task back to its queue, as if it were new. It
// does not wait again for those that it was to follow ([Options].After).
func (i *Inspector) Retry(ctx context.Context, id string) error {
	_, err := i.mendOne(ctx, "retry", retryScript, id, []string{"retried"})
	return err
}

// RetryAll retries all tasks that a filter selects of the dead ones, or of those
// of its states, and returns how many.
func (i *Inspector) RetryAll(ctx context.Context, f Filter) (int, error) {
	if len(f.States) == 0 {
		f.States = []State{Dead}
	}
	return i.mendAll(ctx, f, "retry", retryScript, []string{"retried"})
}

func (i *Inspector) mendAll(ctx context.Context, f Filter, verb string, s *link.Script, good []string, first ...any) (int, error) {
	var ids []string
	for t, err := range i.List(ctx, f) {
		if err != nil {
			return 0, err
		}
		ids = append(ids, t.ID)
	}
	words, err := i.mend(ctx, verb, s, ids, first...)
	n := 0
	for _, w := range words {
		if slices.Contains(good, w) {
			n++
		}
	}
	return n, err
}

// Reschedule changes when a delayed task is due, on Redis's clock; a time that has
// passed, the zero time too, means now.
func (i *Inspector) Reschedule(ctx context.Context, id string, at time.Time) error {
	when := ""
	if !at.IsZero() {
		when = "@" + strconv.FormatInt(roundUpTime(at), 10)
	}
	return i.reschedule(ctx, id, when)
}

// RescheduleIn is [Inspector.Reschedule] to that much from now.
func (i *Inspector) RescheduleIn(ctx context.Context, id string, d time.Duration) error {
	return i.reschedule(ctx, id, "+"+strconv.FormatInt(roundUp(max(d, 0)), 10))
}

func (i *Inspector) reschedule(ctx context.Context, id, when string) error {
	reply, err := rescheduleScript.Run(ctx, i.redis, []string{i.keys.Tasks()}, id, when).Slice()
	if err == nil {
		err = protocolError(reply)
	}
	if err != nil {
		return fmt.Errorf("reschedule task %s: %w", id, link.Explain(err))
	}
	switch word, _ := reply[1].(string); word {
	case wordGone:
		return fmt.Errorf("reschedule task %s: %w", id, ErrNotFound)
	case "other":
		return fmt.Errorf("reschedule task %s: %w: it is not delayed", id, ErrState)
	default:
		return nil
	}
}
