package queue

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Store runs the scripts that are not numbered: they look at tasks, mend them, move
// what is due, and take over. Make one with [NewStore].
type Store struct {
	redis redis.UniversalClient
	keys  link.Keys
}

// NewStore returns the store of a namespace.
func NewStore(c redis.UniversalClient, keys link.Keys) Store { return Store{c, keys} }

// Words of the scripts about one task.
const (
	Gone  = "gone"  // it is not stored
	Asked = "asked" // it runs, and is to be cancelled
)

// run runs a script and checks the first word of its reply, which is left out.
func (s Store) run(ctx context.Context, script *link.Script, args ...any) ([]any, error) {
	reply, err := script.Run(ctx, s.redis, []string{s.keys.Tasks()}, args...).Slice()
	if err != nil {
		return nil, link.Explain(err)
	}
	if err := protocolError(reply); err != nil {
		return nil, err
	}
	return reply[1:], nil
}

// mend runs a script for some tasks, at most mendBatch at a time, and returns a word
// for each. It may have to look through whole queues for each.
func (s Store) mend(ctx context.Context, script *link.Script, ids []string, first ...any) ([]string, error) {
	const mendBatch = 50
	words := make([]string, 0, len(ids))
	for some := range slices.Chunk(ids, mendBatch) {
		args := slices.Clone(first)
		for _, id := range some {
			args = append(args, id)
		}
		reply, err := s.run(ctx, script, args...)
		if err != nil {
			return words, err
		}
		words = append(words, texts(reply)...)
	}
	return words, nil
}

// Cancel cancels tasks, and asks those that run to end. It returns a word for each:
// "cancelled", [Asked], [Gone] or its state.
func (s Store) Cancel(ctx context.Context, ids []string, reason []byte) ([]string, error) {
	return s.mend(ctx, cancelScript, ids, reason)
}

// Delete deletes tasks. It returns a word for each: "deleted", "active" or [Gone].
func (s Store) Delete(ctx context.Context, ids []string) ([]string, error) {
	return s.mend(ctx, deleteScript, ids)
}

// Retry brings dead and cancelled tasks back to their queues. It returns a word for
// each: "retried", "taken", "other" or [Gone].
func (s Store) Retry(ctx context.Context, ids []string) ([]string, error) {
	return s.mend(ctx, retryScript, ids)
}

// Reschedule changes when a delayed task is due: "@" and a time of Redis's clock in
// milliseconds, "+" and milliseconds from now, or "" for now. It returns [Gone],
// "other" for a task that is not delayed, or another word.
func (s Store) Reschedule(ctx context.Context, id, when string) (word string, err error) {
	reply, err := s.run(ctx, rescheduleScript, id, when)
	if err != nil {
		return "", err
	}
	word, _ = reply[0].(string)
	return word, nil
}

// SetQueue changes the settings of a queue: "pause", "resume", "reset", or limits set
// by "program" or "operator", which are [Limits.String]. It returns what is in effect.
func (s Store) SetQueue(ctx context.Context, queue, verb, limits string) (Settings, error) {
	reply, err := s.run(ctx, queueScript, queue, verb, limits)
	if err != nil {
		return Settings{}, fmt.Errorf("%s queue %s: %w", verb, queue, err)
	}
	text, _ := reply[0].(string)
	return ParseSettings(text), nil
}

// Clear deletes up to [MaxBatch] of a queue's tasks, and the queue itself when none
// is left. It returns how many it deleted and whether there are more.
func (s Store) Clear(ctx context.Context, queue string) (deleted int, more bool, err error) {
	reply, err := s.run(ctx, clearScript, queue, MaxBatch)
	if err != nil {
		return 0, false, err
	}
	n, _ := reply[0].(int64)
	word, _ := reply[1].(string)
	return int(n), word != "", nil
}

// Shown is what Redis knows of one task; texts that do not apply are empty.
type Shown struct {
	State, Record, Tries, Reason string
	Result, Progress, History    string
	Time                         string // that belongs to the state, in milliseconds
	Node                         string
	Position, Blocking           string
	Cancelling                   bool
}

// Show returns what Redis knows of a task, and false if it is not stored.
func (s Store) Show(ctx context.Context, id string) (Shown, bool, error) {
	reply, err := showScript.Run(ctx, s.redis, []string{s.keys.Tasks()}, id).Slice()
	if err != nil {
		return Shown{}, false, link.Explain(err)
	}
	if len(reply) == 1 && reply[0] == Gone {
		return Shown{}, false, nil
	}
	if err := protocolError(reply); err != nil {
		return Shown{}, false, err
	}
	f := texts(reply[1:])
	if len(f) != 13 {
		return Shown{}, false, fmt.Errorf("reply of %d parts", len(f))
	}
	shown := Shown{
		State: f[0], Record: f[1], Tries: f[2], Reason: f[3], Result: f[4], Progress: f[5], History: f[6],
		Time: f[7], Node: f[8], Position: f[9], Blocking: f[10], Cancelling: f[11] != "",
	}
	if shown.Time == "" {
		shown.Time = f[12]
	}
	return shown, true, nil
}

// Ending returns how a task ended: the word "done" and its result, "dead" or
// "cancelled" and its reason, [Gone], or another word when it has not. With listen,
// its end is announced on [link.Keys.Ended] then.
func (s Store) Ending(ctx context.Context, id string, listen bool) (word, detail string, err error) {
	mark := ""
	if listen {
		mark = "1"
	}
	reply, err := waitScript.Run(ctx, s.redis, []string{s.keys.Tasks()}, id, mark).StringSlice()
	if err != nil {
		return "", "", link.Explain(err)
	}
	if len(reply) > 1 {
		detail = reply[1]
	}
	if reply[0] == "WRONGTYPE" {
		return "", "", wrongType(detail)
	}
	return reply[0], detail, nil
}

// Progress notes how far a task is. The error is [ErrFenced] when the task is not in
// the incarnation's hands any more.
func (s Store) Progress(ctx context.Context, incarnation, id string, progress []byte) error {
	_, err := s.run(ctx, progressScript, incarnation, id, progress)
	return err
}

// Moved is what [Store.MoveDue] did and found.
type Moved struct {
	More    bool          // there may be more to move
	Next    time.Duration // until the next is due, if HasNext
	HasNext bool
	Broken  []string // keys of queues whose type is wrong
	Asked   []string // ids of running tasks that are to be cancelled
	Dropped int64    // dead tasks that were forgotten because there are too many
}

// MoveDue brings up to most delayed tasks of each queue that are due to it, and
// forgets what need not be remembered any more: of the dead and of the cancelled
// those that ended keepFor ago, and the oldest of more than keep.
func (s Store) MoveDue(ctx context.Context, most int, keepFor time.Duration, keep int) (Moved, error) {
	reply, err := dueScript.Run(ctx, s.redis, []string{s.keys.Tasks()}, most, keepFor.Milliseconds(), keep).Slice()
	if err != nil {
		return Moved{}, link.Explain(err)
	}
	if len(reply) != 5 {
		return Moved{}, protocolError(reply)
	}
	m := Moved{Broken: texts(reply[2]), Asked: texts(reply[3])}
	word, _ := reply[0].(string)
	m.More = word != ""
	m.Dropped, _ = reply[4].(int64)
	if text, _ := reply[1].(string); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return Moved{}, err
		}
		m.Next, m.HasNext = time.Duration(ms)*time.Millisecond, true
	}
	return m, nil
}
