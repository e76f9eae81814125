package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
)

// Transaction collects what a handler wants to happen together with the
// completion of its task: exactly once, or not at all. Get it with [Tx].
//
// Nothing happens before the handler returns nil. When it returns an error, or
// its node ends, the transaction is dropped. What cannot be applied (a locked
// entry, a key of the wrong type) fails the run with [ErrRefused].
//
// Its methods are safe for concurrent use and return nothing: a value that does
// not encode or a bad name fails the run when the handler returns.
//
// A lock that the handler holds guards the entries that it writes here when the
// transaction was got with the lock's context, Tx(lock.Context()), and the lock
// is still held at the commit, which follows the handler's return: leave such a
// lock to its lifetime, or write to the cache itself instead.
type Transaction struct {
	*collected
	ctx context.Context //nolint:containedctx // it carries the locks that are held
}

// collected is what a run's transaction holds, from wherever it was got.
type collected struct {
	tasks *Client
	cache *cache.Cache
	seal  Sealer

	mu      sync.Mutex
	ended   bool
	effects []effect
	result  json.RawMessage
	errs    []error
}

// Sealer makes the message of a publish and names its channel, as the node's bus does
// (see [redisbus.Bus.Seal]).
type Sealer func(ctx context.Context, messageType string, body any, o redisbus.PublishOptions) (channel string, message []byte, err error)

// effect is one write, in the words that commit.lua reads.
type effect struct {
	kind string
	args []any
}

// Save stores a value in the cache; ttl 0 keeps it for ever.
func (t *Transaction) Save(key string, value any, ttl time.Duration) {
	encoded, err := cache.Encode(value)
	if ttl < 0 || (ttl > 0 && ttl < time.Millisecond) {
		err = errors.Join(err, fmt.Errorf("ttl %s: use 0 for none, or at least 1ms", ttl))
	}
	t.add(err, "save "+key, "save", func() []any {
		return append(t.entry(key), encoded, ttl.Milliseconds())
	})
}

// Destroy removes an entry from the cache; one that is not there is no error.
func (t *Transaction) Destroy(key string) {
	t.add(nil, "destroy "+key, "destroy", func() []any { return t.entry(key) })
}

// Push appends an item to a list in the cache.
func (t *Transaction) Push(key string, item any) {
	encoded, err := cache.Encode(item)
	t.add(err, "push "+key, "push", func() []any { return append(t.entry(key), encoded) })
}

// Increment adds to a counter in the cache, which starts at 0.
func (t *Transaction) Increment(key string, delta int64) {
	t.add(nil, "increment "+key, "increment", func() []any { return append(t.entry(key), delta) })
}

// Enqueue stores a follow-up task.
func (t *Transaction) Enqueue(name string, payload any) { t.EnqueueWith(name, payload, Options{}) }

// EnqueueWith is [Transaction.Enqueue] with options. A task whose id or unique key
// is taken is not stored again; that is no error. Limits of its queue do not
// count: it follows from work that was accepted.
func (t *Transaction) EnqueueWith(name string, payload any, o Options) {
	n, err := t.tasks.prepare(name, payload, o)
	t.add(err, "enqueue "+name, "enqueue", func() []any { return append(n.group(1), n.id, n.tail) })
}

// Publish sends a message to every node of the cluster.
func (t *Transaction) Publish(messageType string, body any) {
	t.PublishWith(messageType, body, redisbus.PublishOptions{})
}

// PublishWith is [Transaction.Publish] with options.
func (t *Transaction) PublishWith(messageType string, body any, o redisbus.PublishOptions) {
	channel, message, err := t.seal(t.ctx, messageType, body, o)
	t.add(err, "publish "+messageType, "publish", func() []any { return []any{channel, message} })
}

// Result sets what [Client.Result] and [Client.Wait] return for this task. It is
// kept for the task's retention; without one, only those who wait already get it.
func (t *Transaction) Result(value any) {
	encoded, err := json.Marshal(value)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errs = append(t.errs, fmt.Errorf("result: %w", err))
	}
	t.result = encoded
}

// entry returns the words that name a cache entry: its key, its lock's key and
// the token of the lock that the handler holds on it, if it does.
func (t *Transaction) entry(key string) []any {
	lock := t.cache.LockKey(key)
	return []any{t.cache.EntryKey(key), lock, cache.Token(t.ctx, lock)}
}

func (t *collected) add(err error, what, kind string, args func() []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return // a goroutine that outlived the handler: its task is over
	}
	if err != nil {
		t.errs = append(t.errs, fmt.Errorf("transaction: %s: %w", what, err))
		return
	}
	t.effects = append(t.effects, effect{kind, args()})
}

// end closes the transaction and returns what is in it.
func (t *collected) end() (effects []effect, result json.RawMessage, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return t.effects, t.result, errors.Join(t.errs...)
}

type contextKey struct{}

// Tx returns the transaction of the task that the context belongs to. It panics
// with [ErrNoTask] outside a handler: that is a mistake in the program.
func Tx(ctx context.Context) *Transaction {
	r, ok := ctx.Value(contextKey{}).(*run)
	if !ok {
		panic(ErrNoTask)
	}
	return &Transaction{collected: &r.tx, ctx: ctx}
}

// Info describes the run that a context belongs to.
type Info struct {
	ID      string // the same in every run of the task: an idempotency key
	Name    string
	Queue   string
	Attempt int // 1 in the first run; a run that ended with its node does not count
	Crashes int // runs that ended with their node
	// Fence grows with every incarnation; a store that remembers the largest it
	// has seen can refuse an older run.
	Fence    int64
	Enqueued time.Time // on Redis's clock
	Payload  json.RawMessage
}

// InfoOf returns what is known of the task that the context belongs to, and
// whether it belongs to one.
func InfoOf(ctx context.Context) (Info, bool) {
	r, ok := ctx.Value(contextKey{}).(*run)
	if !ok {
		return Info{}, false
	}
	return r.info(), true
}
