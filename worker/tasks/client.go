package tasks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Client enqueues tasks and waits for their results. An [Inspector] lists, cancels, deletes
// and retries tasks. Enqueues made while two batches are on their way to Redis share the
// next batch. Make a client with [NewClient].
type Client struct {
	redis    redis.UniversalClient
	keys     link.Keys
	store    queue.Store
	producer *queue.Producer
	shared   bool // the producer is another client's
	caller   *queue.Caller
	registry *Registry
	observer Observer                   // nil: none
	plain    atomic.Pointer[queue.Kind] // of the last task without options
	strict   bool                       // refuses tasks that it does not know
	log      zerolog.Logger

	published *published // nil: it does not look for definitions

	mu      sync.Mutex
	warned  map[string]struct{} // the names of unknown tasks that were logged
	endings *redisbus.Announcements
	closed  context.Context //nolint:containedctx // ends with the client, and waits with it
	end     context.CancelFunc
}

// NewClient returns a client that works until ctx ends or [Client.Close] is called. The
// definitions of r say in which queue a task waits. A task that r does not know goes to
// [DefaultQueue], and is logged once.
//
// Without a registry the client uses the definitions that the programs of nodes have
// published on Redis ([Client.Learn]). It refuses other tasks with [ErrUndefined] unless
// [Options].AnyName is set.
func NewClient(ctx context.Context, c redis.UniversalClient, keys link.Keys, r *Registry) *Client {
	client := newClient(ctx, c, keys, r, queue.NewProducer(ctx, c, keys))
	if r == nil {
		client.registry, client.strict = &Registry{}, true
		client.Learn()
	}
	return client
}

// Branch returns a client like c, with connections of its own and the same definitions, whose
// enqueues share batches with those of c and of its other branches: the nodes of a process are
// branches of one client. It works until ctx ends, it is closed, or c is closed.
func (c *Client) Branch(ctx context.Context, r redis.UniversalClient) *Client {
	b := newClient(ctx, r, c.keys, c.registry, c.producer)
	b.shared, b.strict = true, c.strict
	if c.published != nil {
		b.Learn()
	}
	return b
}

func newClient(ctx context.Context, c redis.UniversalClient, keys link.Keys, r *Registry, p *queue.Producer) *Client {
	closed, end := context.WithCancel(ctx)
	return &Client{
		closed: closed, end: end, redis: c, keys: keys, store: queue.NewStore(c, keys), producer: p, caller: p.Caller(ctx, ErrClosed),
		registry: r, endings: redisbus.NewAnnouncements(c), log: zerolog.Nop(), warned: map[string]struct{}{},
	}
}

// Learn has the client use published definitions for tasks that its registry does not know.
// It reads them when it meets the first such task, then every 10 s, and, if it refuses
// unknown tasks, whenever it meets one; no other enqueue waits for that. Call it before
// the client's first use.
func (c *Client) Learn() { c.published = newPublished(c.store) }

// LogTo sets the log of the client; without it, nothing is logged. Call it before the
// client's first use.
func (c *Client) LogTo(log zerolog.Logger) { c.log = log }

// Close ends the calls that still wait with [ErrClosed]. Whether their tasks were stored
// is unknown.
func (c *Client) Close() {
	c.end()
	c.caller.Close()
	if !c.shared {
		c.producer.Close()
	}
	c.endings.Close()
	if c.published != nil {
		c.published.close()
	}
}

// Enqueue stores a task to run as soon as a node is free. When it returns nil the
// task is never lost: it ends done, dead or cancelled.
//
// While Redis is not available, Enqueue waits until ctx ends. Its error then wraps
// [link.ErrUnavailable] if the task never reached Redis, [link.ErrNotSent] if ctx was
// cancelled before that, or [link.ErrUnknownOutcome] if the task may be stored. After an
// unknown outcome, only an enqueue with [Options].ID can be repeated without the risk of a
// second task. While Redis does not answer, Enqueue notices
// a cancelled ctx within 2 s, and a deadline at once. It returns [link.ErrFull] at once
// when Redis has reached its maxmemory, and [ErrQueueFull] when the queue has reached its
// limits. A client without definitions of its own returns [ErrUndefined] for a task that
// no program has defined (see [NewClient]).
func (c *Client) Enqueue(ctx context.Context, name string, payload any) (Receipt, error) {
	return c.EnqueueWith(ctx, name, payload, Options{})
}

// EnqueueIn is [Client.Enqueue] of a task that is due after the delay d.
func (c *Client) EnqueueIn(ctx context.Context, d time.Duration, name string, payload any) (Receipt, error) {
	return c.EnqueueWith(ctx, name, payload, Options{In: d})
}

// EnqueueAt is [Client.Enqueue] of a task that is due at a time, on Redis's clock.
func (c *Client) EnqueueAt(ctx context.Context, at time.Time, name string, payload any) (Receipt, error) {
	return c.EnqueueWith(ctx, name, payload, Options{At: at})
}

// EnqueueWith is [Client.Enqueue] with options.
func (c *Client) EnqueueWith(ctx context.Context, name string, payload any, o Options) (Receipt, error) {
	receipts, err := c.EnqueueMany(ctx, []Request{{Name: name, Payload: payload, Options: o}})
	if err != nil {
		return Receipt{}, err
	}
	return receipts[0], nil
}

// EnqueueMany stores any number of tasks, in their order, in batches of up to 500 tasks. A
// task and its [Request].Then tasks are always in one batch. EnqueueMany returns a receipt
// for each task; the receipts of Then tasks follow that of their task.
//
// An invalid task fails the call before any task is stored. If the call fails midway, the
// receipts of the stored batches are returned with the error, and no later task is stored;
// when the outcome is unknown, the tasks of up to three later batches may be stored. With
// [ErrQueueFull] there is a receipt for every task; the receipts of tasks that were not
// accepted have no id.
func (c *Client) EnqueueMany(ctx context.Context, requests []Request) ([]Receipt, error) {
	receipts, sent, err := c.enqueueMany(ctx, requests, false)
	if err != nil && !sent && c.observer != nil {
		c.observeRefused(requests)
	}
	return receipts, err
}

// enqueueMany is [Client.EnqueueMany]; sent reports whether the tasks went to Redis. With some, middleware that gets a
// task which is refused then has those before it stored.
func (c *Client) enqueueMany(ctx context.Context, requests []Request, some bool) (receipts []Receipt, sent bool, err error) {
	if err := c.learn(ctx, requests); err != nil {
		return nil, false, err
	}
	if len(c.registry.enqueue) > 0 {
		return c.enqueueWrapped(ctx, requests, some)
	}
	all, err := c.prepareMany(requests)
	if err != nil {
		return nil, false, err
	}
	receipts, err = c.send(ctx, all)
	return receipts, true, err
}

// send stores prepared tasks and returns their receipts.
func (c *Client) send(ctx context.Context, all []queue.Task) ([]Receipt, error) {
	var began time.Time
	if c.observer != nil {
		began = time.Now()
	}
	known, refused, err := c.caller.Enqueue(ctx, all)
	if c.observer != nil {
		c.observeSent(all, known, refused, err, time.Since(began))
	}
	receipts := make([]Receipt, known)
	var full error
	for i, t := range all[:known] {
		receipt, err := receiptOf(t, refused[i])
		receipts[i] = receipt
		if err != nil && full == nil {
			full = err
		}
	}
	if err != nil {
		return receipts, fmt.Errorf("enqueue %s: %w", all[known].Name(), err)
	}
	return receipts, full
}

// receiptOf returns the receipt of a task, or an error; code says why the task was not
// stored, and is empty for a stored task.
func receiptOf(t queue.Task, code string) (Receipt, error) {
	switch holder, isUnique := strings.CutPrefix(code, "unique="); {
	case code == "":
		return Receipt{ID: t.ID}, nil
	case isUnique:
		return Receipt{ID: holder, Duplicate: true}, nil
	case code == "taken":
		return Receipt{ID: t.ID, Duplicate: true}, nil
	case code == "full":
		return Receipt{}, fmt.Errorf("enqueue %s: queue %s: %w", t.Name(), t.Queue(), ErrQueueFull)
	default:
		return Receipt{}, errors.New("enqueue " + t.Name() + ": " + code)
	}
}
