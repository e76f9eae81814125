package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/worker/group"
)

// Keys of the values in a handler's context.
type (
	// RunKey is the key of the *[Run].
	RunKey struct{}
	// ClientKey is the key of the node's *tasks.Client, which prepares the follow-up
	// tasks of the run's transaction.
	ClientKey struct{}
)

// Node is the data that all runs of one node share.
type Node struct {
	Incarnation string
	Fence       int64        // the incarnation's epoch
	Cache       *cache.Cache // where transactions write
	Bus         Bus
}

// Bus makes the messages that transactions publish, as [redisbus.Bus] does.
type Bus interface {
	Prepare(ctx context.Context, messageType string, body any, o redisbus.PublishOptions) (redisbus.Outgoing, error)
	Seal(ctx context.Context, m redisbus.Outgoing) (channel string, message []byte, err error)
}

// Run is one run of one task's handler. The functions of package tasks find it in the
// handler's context; a [Session.Commit] sends its outcome.
type Run struct {
	Claimed

	Node    *Node
	Waited  time.Duration // from when the task was due until its handler started
	Ran     time.Duration
	outcome outcome

	// Members are the runs of a batch, in the order of its payloads; the context of its handler
	// belongs to the first one. nil: the run is no batch's.
	Members []*Run
	with    []*Run // see Join

	// Steps are the stored steps of the task; nil until the handler asks for one.
	Steps  *Steps
	InStep atomic.Bool // a step runs, or a note is on its way
	Slept  atomic.Bool // the handler was given the error of a sleep
	noted  int         // how many notes the run has sent, see Store.Note
	gotOn  atomic.Bool // the run has got on: see Run.Counts

	mu         sync.Mutex
	ended      bool
	effects    []Effect
	size       int  // of the effects and the result, in bytes
	oversized  bool // the error for it is among errs
	result     json.RawMessage
	errs       []error // see Fail
	children   sync.WaitGroup
	childFails []error
}

// RunOf returns the run that the context belongs to, or nil.
func RunOf(ctx context.Context) *Run {
	r, _ := ctx.Value(RunKey{}).(*Run)
	return r
}

// Effect is one write of a transaction, as arguments of commit.lua.
type Effect struct {
	kind  string
	args  []any
	large *Task // that it enqueues, if the payload has a key of its own
}

// NewEffect returns an effect that writes a cache entry.
func NewEffect(kind string, args ...any) Effect { return Effect{kind: kind, args: args} }

// PublishEffect returns the effect that publishes a message. Each request to commit it has a
// new seal.
func PublishEffect(m redisbus.Outgoing) Effect { return NewEffect(publishing, "", unsealed(m)) }

// publishing is the kind of the effects that publish.
const publishing = "publish"

// unsealed stands for a message, and for its channel before it, in the arguments of commit.lua.
type unsealed redisbus.Outgoing

// sealAll replaces the messages at these places in the arguments of commit.lua by sealed ones.
func (n *Node) sealAll(ctx context.Context, args []any, places []int) error {
	for _, at := range places {
		m, _ := args[at].(unsealed)
		channel, message, err := n.Bus.Seal(ctx, redisbus.Outgoing(m))
		if err != nil {
			return fmt.Errorf("message %s: %w", m.Type, err)
		}
		args[at-1], args[at] = channel, message
	}
	return nil
}

// EnqueueEffect returns the effect that stores a follow-up task.
func EnqueueEffect(t Task) Effect {
	e := NewEffect("enqueue", t.alone()...)
	if t.body.name != "" {
		e.large = &t
	}
	return e
}

// size returns about how many bytes the effect has on the wire.
func (e Effect) size() int {
	n := sizeOf(e.args)
	if e.large != nil {
		n += len(e.large.body.payload)
	}
	return n
}

// Followup returns the id, name and queue of the task that the effect stores. It reports false
// for effects other than those of [EnqueueEffect].
func (e Effect) Followup() (id, name, queue string, is bool) { //nolint:revive // a type for them would have one use
	if e.kind != "enqueue" {
		return "", "", "", false
	}
	r, _ := ParseRecord(e.args[3].(string)) //nolint:forcetypeassert // the head of a record: see Task.group
	id, _ = e.args[9].(string)
	return id, r.Name, r.Queue(), true
}

// Counts returns the task's counts of failed runs. Its crashes count no more once it has got on:
// it has ended a step, or noted more than one state.
func (r *Run) Counts() Tries {
	t := r.Tries
	if r.gotOn.Load() {
		t.Crashes = 0
	}
	return t
}

// outcome is how a run ended.
type outcome struct {
	queue   string
	grouped bool
	verb    Verb
	args    []any
	effects []Effect
}

// weight is 0 for a task without a group that is done without effects, result or retention, and 1 for
// all others, and for those of a batch.
func (r *Run) weight() int {
	if o := r.outcome; o.verb == Done && o.args == nil && len(o.effects) == 0 && r.Members == nil && !o.grouped {
		return 0
	}
	return 1
}

// Join has other runs that are [Done], and have no effects, end in one with r: a commit ends all of
// them, or none. The code of those that are not to blame is then [Apart]. nil undoes it.
func (r *Run) Join(others []*Run) { r.with = others }

// Joined returns how many runs end with r, itself included.
func (r *Run) Joined() int { return 1 + len(r.with) }

// unjoined returns the runs of a commit one by one, in the order of their arguments.
func unjoined(runs []*Run) []*Run {
	if !slices.ContainsFunc(runs, func(r *Run) bool { return len(r.with) > 0 }) {
		return runs
	}
	var all []*Run
	for _, r := range runs {
		all = append(append(all, r), r.with...)
	}
	return all
}

// End sets the run's outcome: its verb, the arguments that commit.lua reads with it,
// and the effects, which only [Done] has.
func (r *Run) End(v Verb, effects []Effect, args ...any) {
	r.outcome = outcome{queue: r.Record.Queue(), grouped: strings.Contains(r.Record.Line, groupMark), verb: v, args: args, effects: effects}
}

// Queue returns the name of the task's queue.
func (r *Run) Queue() string {
	if r.outcome.queue != "" {
		return r.outcome.queue
	}
	return r.Record.Queue()
}

// Effects returns the effects of the run's outcome.
func (r *Run) Effects() []Effect { return r.outcome.effects }

// Verb returns how the run ended.
func (r *Run) Verb() Verb { return r.outcome.verb }

// Add adds an effect to the transaction. It drops an effect that is added after the run
// has ended, by a goroutine that outlived the handler.
func (r *Run) Add(e Effect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended && r.grow(e.size(), 1) {
		r.effects = append(r.effects, e)
	}
}

// grow counts bytes of the transaction, to which so many effects are about to be added. It
// returns false if the transaction has become larger than it may be: then the run fails when
// its handler returns. The caller holds r.mu.
func (r *Run) grow(bytes, effects int) bool {
	r.size += bytes
	if r.size <= MaxTransaction && len(r.effects)+effects <= MaxEffects {
		return true
	}
	if !r.oversized {
		r.oversized = true
		r.errs = append(r.errs, fmt.Errorf("transaction: %w: it has more than %d effects or %d bytes: split the task",
			ErrTooLarge, MaxEffects, MaxTransaction))
	}
	r.effects = nil // they are dropped anyway
	return false
}

// Fail makes the run fail with err when its handler returns.
func (r *Run) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.errs = append(r.errs, err)
	}
}

// SetResult sets the task's result.
func (r *Run) SetResult(result json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended && r.grow(len(result)-len(r.result), 0) {
		r.result = result
	}
}

// Mark returns how many effects the transaction holds.
func (r *Run) Mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.effects)
}

// Rewind drops the effects that were added since the mark.
func (r *Run) Rewind(mark int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || len(r.effects) < mark {
		return
	}
	for _, e := range r.effects[mark:] {
		r.size -= e.size()
	}
	r.effects = r.effects[:mark]
}

// Cut takes the effects out of the transaction and returns them, with the joined errors of
// [Run.Fail]: with such an error nothing may be committed. Nor may it when the handler has
// returned: effects that a goroutine added since then were dropped.
func (r *Run) Cut() ([]Effect, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, errors.New("the handler has returned: start goroutines that take steps with tasks.Go")
	}
	effects := r.effects
	r.effects, r.size = nil, len(r.result)
	return effects, errors.Join(r.errs...)
}

// Close closes the transaction and returns its effects, the task's result, and the joined
// errors of [Run.Fail].
func (r *Run) Close() (effects []Effect, result json.RawMessage, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.effects, r.result, errors.Join(r.errs...)
}

// Go runs f on a goroutine that belongs to the run: [Run.Wait] waits for it.
func (r *Run) Go(f func() error) {
	r.children.Add(1)
	go group.Run("goroutine of task "+r.Record.Name, f, func(err error) {
		if err != nil {
			r.mu.Lock()
			r.childFails = append(r.childFails, err)
			r.mu.Unlock()
		}
		r.children.Done()
	})
}

// Wait returns the errors of the run's goroutines once all have ended.
func (r *Run) Wait() error {
	r.children.Wait()
	return errors.Join(r.childFails...)
}
