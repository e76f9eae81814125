package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Transaction collects what a handler wants to happen together with the
// completion of its task: exactly once, or not at all. Get it with [Tx].
//
// Nothing is written before the handler returns nil. When the handler returns an error, or
// its node ends, the transaction is dropped. If a write cannot be applied (to a locked
// entry, or a key of the wrong type), the run fails with [ErrRefused].
//
// Its methods are safe for concurrent use and return nothing: a value that does
// not encode or is larger than [MaxResult], or a bad name, fails the run when the handler
// returns; so does a transaction of more than [MaxTransaction] bytes or [MaxEffects] writes.
//
// A lock that the handler holds guards the entries that it writes here when the
// transaction was got with the lock's context, Tx(lock.Context()), and the lock
// is still held at the commit, which follows the handler's return: leave such a
// lock to its lifetime, or write to the cache itself instead.
type Transaction struct {
	run *queue.Run
	ctx context.Context //nolint:containedctx // it carries the locks that are held
}

// Save stores a value in the cache until ttl has passed; ttl 0 keeps it for ever.
func (t *Transaction) Save(key string, value any, ttl time.Duration) {
	encoded, err := encodeValue(value)
	if ttl < 0 || ttl > cache.MaxTTL {
		err = errors.Join(err, fmt.Errorf("ttl %s: use 0 for none, or at most %s", ttl, cache.MaxTTL))
	}
	t.write(err, "save", key, encoded, queue.Milliseconds(ttl))
}

// Destroy removes an entry from the cache. A missing entry is no error.
func (t *Transaction) Destroy(key string) {
	t.write(nil, "destroy", key)
}

// Push appends an item to a list in the cache.
func (t *Transaction) Push(key string, item any) {
	encoded, err := encodeValue(item)
	t.write(err, "push", key, encoded)
}

// Increment adds to a counter in the cache, which starts at 0.
func (t *Transaction) Increment(key string, delta int64) {
	t.write(nil, "increment", key, delta)
}

// Enqueue stores a follow-up task.
func (t *Transaction) Enqueue(name string, payload any) { t.EnqueueWith(name, payload, Options{}) }

// EnqueueWith is [Transaction.Enqueue] with options. A task whose id or unique key is taken
// is not stored, which is no error. The limits of the queue do not apply to follow-up
// tasks, because they result from work that was accepted.
func (t *Transaction) EnqueueWith(name string, payload any, o Options) {
	task, err := clientOf(t.ctx).seal(t.ctx, name, payload, o)
	if err != nil {
		t.fail("enqueue "+name, err)
		return
	}
	t.run.Add(queue.EnqueueEffect(task))
}

// Publish sends a message to every node of the cluster.
func (t *Transaction) Publish(messageType string, body any) {
	t.PublishWith(messageType, body, redisbus.PublishOptions{})
}

// PublishWith is [Transaction.Publish] with options.
func (t *Transaction) PublishWith(messageType string, body any, o redisbus.PublishOptions) {
	m, err := t.run.Node.Bus.Prepare(t.ctx, messageType, body, o)
	if err != nil {
		t.fail("publish "+messageType, err)
		return
	}
	t.run.Add(queue.PublishEffect(m))
}

// Result sets the task's result, which [Client.Result] and [Client.Wait] return. The result
// is kept for the task's retention; without a retention, only callers that wait already
// get the result. A result of more than [MaxResult] bytes fails the run, and so does one that is
// set in a [Step].
func (t *Transaction) Result(value any) {
	if t.run.InStep.Load() {
		t.run.Fail(fmt.Errorf("%w: set the task's result after the step, from what Step returns: "+
			"a run that finds the step ended would not set it", ErrStep))
		return
	}
	encoded, err := encodeResult(value)
	if t.run.Members != nil {
		err = fmt.Errorf("%w: use HandleBatchResult", ErrBatch)
	}
	if err != nil {
		t.run.Fail(fmt.Errorf("result: %w", err))
		return
	}
	t.run.SetResult(encoded)
}

func encodeResult(value any) ([]byte, error) {
	encoded, err := json.Marshal(value)
	if err == nil {
		err = checkSize(encoded)
	}
	return encoded, err
}

// encodeValue encodes a value for the cache.
func encodeValue(value any) ([]byte, error) {
	encoded, err := cache.Encode(value)
	if err == nil {
		err = checkSize(encoded)
	}
	return encoded, err
}

func checkSize(value []byte) error {
	if len(value) > MaxResult {
		return fmt.Errorf("%w: %d bytes, at most %d: store it elsewhere and keep where it is", ErrTooLarge, len(value), MaxResult)
	}
	return nil
}

// write adds a write to a cache entry. If the handler holds a lock on the entry, the write
// carries the lock's token.
func (t *Transaction) write(err error, kind, key string, values ...any) {
	if err != nil {
		t.fail(kind+" "+key, err)
		return
	}
	c := t.run.Node.Cache
	lock := c.LockKey(key)
	t.run.Add(queue.NewEffect(kind, append([]any{c.EntryKey(key), lock, cache.Token(t.ctx, lock)}, values...)...))
}

func (t *Transaction) fail(what string, err error) {
	t.run.Fail(fmt.Errorf("transaction: %s: %w", what, err))
}

// Tx returns the transaction of the task that the context belongs to. Outside a task
// it panics with an error that is [ErrNoTask].
func Tx(ctx context.Context) *Transaction { return &Transaction{mustRun(ctx, "Tx"), ctx} }
