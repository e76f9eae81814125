package queue

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
)

// Store runs the scripts that are not numbered: they look up, cancel, delete and retry
// tasks, move due tasks, and take over. Make a store with [NewStore].
type Store struct {
	// OnEnd, when set, is called for each task that a script ended; see [End].
	OnEnd func(End)
	// Reports logs requests that are repeated; nil: nothing does.
	Reports *link.Reports

	redis redis.UniversalClient
	keys  link.Keys
	near  int // see [Store.Show]

	stepping func(*cache.Cache) *link.Script // lua/step.lua
}

// nearEnds is how many ids at each end of its line a task is compared with, and
// with as many where its age says that it stands: about half a millisecond of Redis.
const nearEnds = 1000

// NewStore returns the store of a namespace.
func NewStore(c redis.UniversalClient, keys link.Keys) Store {
	return Store{redis: c, keys: keys, near: nearEnds, stepping: newStepScript}
}

// Words with which scripts answer for one task.
const (
	Gone  = "gone"  // the task is not stored
	Asked = "asked" // the task runs, and its cancellation was requested
)

// call runs a script, reports the ends in its reply to OnEnd, and returns the rest.
func (s Store) call(ctx context.Context, script *link.Script, args ...any) (link.Reply, error) {
	reply, err := script.Call(ctx, s.redis, s.keys.TaskKeys(), args...)
	if err != nil {
		return reply, refusal(err)
	}
	ends, reply := takeEnds(reply)
	report(s.OnEnd, ends)
	return reply, nil
}

// mend runs a script for tasks, at most mendBatch of them at a time, and returns a word
// for each. The script may have to search whole queues for each task.
func (s Store) mend(ctx context.Context, script *link.Script, ids []string, first ...any) ([]string, error) {
	const mendBatch = 50
	words := make([]string, 0, len(ids))
	for some := range slices.Chunk(ids, mendBatch) {
		args := slices.Clone(first)
		for _, id := range some {
			args = append(args, id)
		}
		reply, err := s.call(ctx, script, args...)
		if err != nil {
			return words, err
		}
		more, err := reply.Texts()
		if err != nil {
			return words, err
		}
		words = append(words, more...)
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
	reply, err := s.call(ctx, rescheduleScript, id, when)
	if err == nil {
		err = reply.Scan(&word)
	}
	return word, err
}

// Edit is what [Store.Edit] changes of a task.
type Edit struct {
	Queue   string  // empty: the same
	Group   *string // empty: none; nil: the same
	Mark    *string // of the priority; nil: the same
	Payload []byte  // nil: the same
}

// Edit changes a task that does not run. It returns "edited", "active", "done", "broken" or [Gone].
func (s Store) Edit(ctx context.Context, id string, e Edit) (word string, err error) {
	mark, group, payload := "=", "=", string(e.Payload)
	if e.Group != nil {
		group = Line("", *e.Group, "")
	}
	if e.Mark != nil {
		mark = *e.Mark
	}
	var bodies []body
	if len(e.Payload) >= largePayload {
		bodies = []body{{newProducer() + newProducer(), e.Payload}}
		payload = refMark + bodies[0].ref().String()
	}
	reply, err := callWith(ctx, editScript, s.redis, s.keys, bodies, []any{id, e.Queue, mark, payload, group})
	if err == nil {
		err = reply.Scan(&word)
	}
	return word, err
}

// Clear deletes up to [MaxBatch] of a queue's tasks, and the queue itself when none
// is left. It returns how many it deleted and whether there are more.
func (s Store) Clear(ctx context.Context, queue string) (deleted int, more bool, err error) {
	reply, err := s.call(ctx, clearScript, queue, MaxBatch)
	gone := false
	if err == nil {
		err = reply.Scan(&deleted, &more, &gone)
	}
	if err == nil && gone {
		err = s.forgetGroups(ctx, queue)
	}
	return deleted, more, err
}

// Shown is what Redis knows of one task; texts that do not apply are empty.
type Shown struct {
	State, Record, Tries, Reason string
	Result, Progress, History    string
	Time                         string // in milliseconds: when a delayed task is due, or an ended one ended or is forgotten
	Node, Since                  string // of a running task: the owner, and when it claimed the task, in milliseconds
	Position, Blocking           string
	About                        bool // Position is an estimate
	Cancelling                   bool
	Steps                        *Steps // without results
}

// Show returns what Redis knows of a task, and false if it is not stored. In a long line it
// looks for the task at both ends and where its age says; the position of a task that is
// elsewhere in the line is an estimate.
func (s Store) Show(ctx context.Context, id string) (out Shown, stored bool, err error) {
	reply, err := s.call(ctx, showScript, id, s.near)
	if link.WordOf(err) == "GONE" {
		return Shown{}, false, nil
	}
	var due, ended, position string
	var steps []string
	if err == nil {
		err = reply.Scan(&out.State, &out.Record, &out.Tries, &out.Reason, &out.Result, &out.Progress, &out.History,
			&due, &out.Node, &position, &out.Blocking, &out.Cancelling, &ended, &out.Since, &steps)
	}
	fields := map[string]string{}
	for pair := range slices.Chunk(steps, 2) {
		fields[pair[0]] = pair[len(pair)-1]
	}
	out.Steps = parseSteps(fields)
	out.Time = cmp.Or(due, ended)
	out.Position, out.About = strings.CutPrefix(position, "~")
	return out, err == nil, err
}

// Ending returns how a task ended: the word "done" and its result, "dead" or
// "cancelled" and its reason, [Gone], or another word when it has not ended. With listen,
// the end of such a task is announced on [link.Keys.Ended].
func (s Store) Ending(ctx context.Context, id string, listen bool) (word, detail string, err error) {
	mark := ""
	if listen {
		mark = "1"
	}
	reply, err := s.call(ctx, waitScript, id, mark)
	if err == nil {
		err = reply.Scan(&word, &detail)
	}
	return word, detail, err
}

// Progress stores the progress of a running task. The error is [ErrFenced] when the
// incarnation does not own the task any more.
func (s Store) Progress(ctx context.Context, incarnation, id string, progress []byte) error {
	_, err := s.call(ctx, progressScript, incarnation, id, progress)
	return err
}

// Visits of queues: see [Look].
const (
	VisitReady = "ready" // some that have tasks, to wake idle nodes for them
	VisitFirst = "0"     // the first of all queues, to enter those that older versions filled into the indexes
)

// Look says how a mover looks for what time alone moves.
type Look struct {
	Mover string // the mover's id
	// Visit says which queues are visited: none, [VisitReady], or some of all, from
	// [VisitFirst] on, then from [Moved.Visit] of the look before.
	Visit string
	Most  int // tasks that the look moves, and the most that it forgets of each kind
	// KeepFor is for how long dead and cancelled tasks are kept, and Keep is how many of either.
	KeepFor time.Duration
	Keep    int
}

// Moved is the result of [Store.MoveDue].
type Moved struct {
	// Responsible reports whether this mover is the one of the cluster that moves tasks now.
	// Of the other fields only Next, HasNext and Asked count for one that is not.
	Responsible bool
	More        bool // there may be more to move
	// Next is the time until the next delayed task is due, if HasNext, or until the mover has
	// to find out whether the responsible one still works.
	Next    time.Duration
	HasNext bool
	Visit   string   // where visits of all queues go on; [VisitFirst] when these were the last
	Broken  []string // keys of queues whose type is wrong
	Asked   []string // ids of running tasks that are to be cancelled
	Dropped int64    // dead tasks that were forgotten because there are too many
}

// MoveDue moves delayed tasks that are due to their queues, if the mover is responsible for
// that or no other mover is. It also forgets done tasks after their retention, and the oldest
// dead and cancelled tasks.
func (s Store) MoveDue(ctx context.Context, l Look) (Moved, error) {
	var m Moved
	var next string
	reply, err := s.call(ctx, dueScript, l.Most, l.KeepFor.Milliseconds(), l.Keep, l.Mover, l.Visit)
	if err == nil {
		err = reply.Scan(&m.More, &next, &m.Broken, &m.Asked, &m.Dropped, &m.Responsible, &m.Visit)
	}
	if err == nil && next != "" {
		var micros int64
		micros, err = strconv.ParseInt(next, 10, 64)
		m.Next, m.HasNext = time.Duration(min(micros, math.MaxInt64/1000))*time.Microsecond, true
	}
	return m, err
}

// Leave ends a mover's responsibility, and has the others look at once.
func (s Store) Leave(ctx context.Context, mover string) error {
	_, err := leaveScript.Call(ctx, s.redis, s.keys.TaskKeys(), mover)
	return err
}
