package tasks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus"
)

// MaxPayload is the largest payload in bytes.
const MaxPayload = 16 << 20

// Bounds of one batch: tasks and bytes of payload.
const (
	maxBatch      = 500
	maxBatchBytes = 1 << 20
)

// DedupeWindow is how long the id of a completed task stays taken, when the
// caller chose it.
const DedupeWindow = 24 * time.Hour

// producerMemory is how long Redis remembers a producer that sends nothing: far
// longer than any batch is repeated.
const producerMemory = 24 * time.Hour

type keyspace = redisbus.Keys

// Client enqueues tasks and looks at them. Calls that come in while a batch is
// on its way to Redis go together in the next one. Make one with [NewClient].
type Client struct {
	redis    redis.UniversalClient
	keys     keyspace
	registry *Registry
	producer string
	serial   atomic.Uint64

	ctx    context.Context //nolint:containedctx // the client's own: Close ends what is on its way
	cancel context.CancelFunc
	active sync.WaitGroup

	mu      sync.Mutex
	waiting []*submission
	lanes   [lanes]lane
}

// NewClient returns a client that works until ctx ends or it is closed. The
// registry's definitions say in which queue a task waits; tasks it does not know
// go to [DefaultQueue]. It may be nil.
func NewClient(ctx context.Context, c redis.UniversalClient, keys redisbus.Keys, r *Registry) *Client {
	if r == nil {
		r = &Registry{}
	}
	client := &Client{redis: c, keys: keys, registry: r, producer: strings.ToLower(rand.Text()[:12])}
	for i := range client.lanes {
		client.lanes[i].name = client.producer + "." + strconv.Itoa(i)
	}
	client.ctx, client.cancel = context.WithCancel(ctx)
	return client
}

// Close ends calls that still wait with [ErrClosed]; what became of them is unknown.
func (c *Client) Close() {
	c.cancel()
	c.active.Wait()
	var keys []string
	c.mu.Lock()
	for i := range c.lanes {
		if c.lanes[i].batch > 0 {
			keys = append(keys, c.keys.Producer(c.lanes[i].name))
			c.lanes[i].batch = 0
		}
	}
	c.mu.Unlock()
	if len(keys) == 0 {
		return
	}
	// Nothing of this producer can be repeated any more. A Redis that is away
	// forgets it by itself.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), time.Second)
	defer cancel()
	_ = c.redis.Del(ctx, keys...).Err()
}

// Options of one task. Every zero value means the definition's.
type Options struct {
	// ID makes the enqueue idempotent: while a task with this id is stored, and
	// for [DedupeWindow] after its completion, the same id is not accepted
	// again. Default a new one.
	ID string
	// Queue instead of the definition's.
	Queue string
	// In delays the task by that much on Redis's clock, At until that time. At
	// most one of them.
	In time.Duration
	At time.Time
	// MaxAttempts, Timeout and Retention instead of the definition's.
	MaxAttempts int
	Timeout     time.Duration
	Retention   time.Duration
}

// Receipt is what an accepted enqueue returns.
type Receipt struct {
	ID string
	// Duplicate: a task with this id was accepted before; this one was not stored.
	Duplicate bool
}

// Enqueue stores a task to run as soon as a node is free. When it returns nil the
// task is never lost: it ends done, dead or cancelled.
//
// While Redis is away it waits as long as ctx lasts, then returns an error of
// [redisbus.ErrUnknownOutcome]: the task may be stored. Only with [Options].ID can
// such a call be repeated without a second task. At Redis's maxmemory it returns
// [redisbus.ErrFull] at once.
func (c *Client) Enqueue(ctx context.Context, name string, payload any) (Receipt, error) {
	return c.EnqueueWith(ctx, name, payload, Options{})
}

// EnqueueIn is [Client.Enqueue] of a task that is due after a delay.
func (c *Client) EnqueueIn(ctx context.Context, d time.Duration, name string, payload any) (Receipt, error) {
	return c.EnqueueWith(ctx, name, payload, Options{In: d})
}

// EnqueueAt is [Client.Enqueue] of a task that is due at a time, on Redis's clock.
func (c *Client) EnqueueAt(ctx context.Context, at time.Time, name string, payload any) (Receipt, error) {
	return c.EnqueueWith(ctx, name, payload, Options{At: at})
}

// EnqueueWith is [Client.Enqueue] with options.
func (c *Client) EnqueueWith(ctx context.Context, name string, payload any, o Options) (Receipt, error) {
	receipts, err := c.EnqueueMany(ctx, []New{{Name: name, Payload: payload, Options: o}})
	if err != nil {
		return Receipt{}, err
	}
	return receipts[0], nil
}

// New is one task for [Client.EnqueueMany].
type New struct {
	Name    string
	Payload any // encoded as JSON; a json.RawMessage is stored as it is
	Options
}

// EnqueueMany stores any number of tasks, in batches of up to 500. If it fails
// midway, the receipts of the batches before are returned with the error. A task
// that is invalid fails the call before anything is stored.
func (c *Client) EnqueueMany(ctx context.Context, news []New) ([]Receipt, error) {
	prepared := make([]prepared, len(news))
	for i, n := range news {
		p, err := c.prepare(n.Name, n.Payload, n.Options)
		if err != nil {
			return nil, fmt.Errorf("enqueue %s: %w", n.Name, err)
		}
		prepared[i] = p
	}
	receipts := make([]Receipt, 0, len(news))
	for from := 0; from < len(prepared); {
		to, size := from, 0
		for to < len(prepared) && to-from < maxBatch && (to == from || size+len(prepared[to].tail) <= maxBatchBytes) {
			size += len(prepared[to].tail)
			to++
		}
		s := &submission{ctx: ctx, tasks: prepared[from:to], bytes: size, done: make(chan struct{})}
		if err := c.submit(s); err != nil {
			return receipts, fmt.Errorf("enqueue %s: %w", prepared[from].name, err)
		}
		for i, p := range s.tasks {
			receipts = append(receipts, Receipt{ID: p.id, Duplicate: s.duplicate[i]})
		}
		from = to
	}
	return receipts, nil
}

// prepared is a task ready to be sent.
type prepared struct {
	name, id, queue, when, head, tail string
	chosen                            bool
}

func (c *Client) prepare(name string, payload any, o Options) (prepared, error) {
	encoded, err := json.Marshal(payload)
	if err != nil {
		return prepared{}, fmt.Errorf("payload: %w", err)
	}
	if raw, ok := payload.(json.RawMessage); ok && len(raw) > 0 {
		encoded = raw // Marshal would compact it
	}
	if len(encoded) > MaxPayload {
		return prepared{}, fmt.Errorf("%w: %d bytes, at most %d: store it elsewhere and enqueue where it is",
			ErrTooLarge, len(encoded), MaxPayload)
	}
	p := prepared{name: name, id: o.ID, queue: o.Queue, chosen: o.ID != ""}
	if d, ok := c.registry.Definition(name); ok && p.queue == "" {
		p.queue = d.Queue
	}
	if p.queue == "" {
		p.queue = DefaultQueue
	}
	if p.id == "" {
		p.id = c.producer + "-" + strconv.FormatUint(c.serial.Add(1), 36)
	}
	p.when, err = o.when()
	err = errors.Join(checkName("task name", name), checkName("queue", p.queue), checkName("id", p.id), err)
	if o.MaxAttempts < 0 || o.Timeout < 0 || o.Retention < 0 {
		err = errors.Join(err, errors.New("MaxAttempts, Timeout and Retention cannot be negative"))
	}
	if err != nil {
		return prepared{}, err
	}
	r := record{name: name, queue: p.queue, payload: encoded, options: recordOptions{
		MaxAttempts: o.MaxAttempts, Timeout: o.Timeout.Milliseconds(), Retention: o.Retention.Milliseconds(), Chosen: p.chosen,
	}}
	p.head, p.tail = r.head(), r.tail()
	return p, nil
}

func (o Options) when() (string, error) {
	switch {
	case o.In != 0 && !o.At.IsZero():
		return "", errors.New("use In or At, not both")
	case o.In > 0:
		// Rounded up: a delayed task never starts early.
		return "+" + strconv.FormatInt((o.In+time.Millisecond-1).Milliseconds(), 10), nil
	case !o.At.IsZero():
		return "@" + strconv.FormatInt(o.At.Add(time.Millisecond-1).UnixMilli(), 10), nil
	default:
		return "", nil
	}
}
