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
)

// Bounds of one batch: tasks and bytes of payload.
const (
	maxBatch      = 500
	maxBatchBytes = 1 << 20
)

// producerMemory is how long Redis remembers a producer that sends nothing: far
// longer than any batch is repeated.
const producerMemory = 24 * time.Hour

// closedMemory is how long it remembers one that was closed: a copy of its last
// batch may still be on its way.
const closedMemory = time.Minute

type keyspace = link.Keys

// Client enqueues tasks and waits for their ends; an [Inspector] looks at them.
// Enqueues that come in while two batches are on their way to Redis go together in
// the next one. Make one with [NewClient].
type Client struct {
	redis    redis.UniversalClient
	keys     keyspace
	registry *Registry
	producer string
	serial   atomic.Int64
	plain    atomic.Pointer[kind] // of the last task without options
	endings  *redisbus.Announcements

	ctx    context.Context //nolint:containedctx // the client's own: Close ends what is on its way
	cancel context.CancelFunc
	active sync.WaitGroup

	mu      sync.Mutex
	waiting []*submission
	senders int      // at most window
	flying  []*batch // that have not ended
	sent    uint64   // the number of the last one
}

// NewClient returns a client that works until ctx ends or it is closed. The
// registry's definitions say in which queue a task waits; tasks it does not know
// go to [DefaultQueue]. It may be nil.
func NewClient(ctx context.Context, c redis.UniversalClient, keys link.Keys, r *Registry) *Client {
	if r == nil {
		r = &Registry{}
	}
	client := &Client{
		redis: c, keys: keys, registry: r, producer: newProducer(),
		endings: redisbus.NewAnnouncements(c, zerolog.Nop()),
	}
	client.ctx, client.cancel = context.WithCancel(ctx)
	return client
}

// Close ends calls that still wait with [ErrClosed]; what became of them is unknown.
func (c *Client) Close() {
	defer c.endings.Close()
	c.mu.Lock()
	c.cancel() // who comes later sees it, and does not begin
	c.mu.Unlock()
	c.active.Wait()
	c.mu.Lock()
	used := c.sent > 0
	c.sent = 0
	c.mu.Unlock()
	if !used {
		return
	}
	// A Redis that is away forgets it by itself, later.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), time.Second)
	defer cancel()
	_ = c.redis.PExpire(ctx, c.keys.Producer(c.producer), closedMemory).Err()
}

// Enqueue stores a task to run as soon as a node is free. When it returns nil the
// task is never lost: it ends done, dead or cancelled.
//
// While Redis is away it waits as long as ctx lasts, then returns an error of
// [link.ErrUnknownOutcome], and the task may be stored, or, where it never
// reached Redis, of [link.ErrUnavailable]. Only with [Options].ID can the first
// be repeated without a second task. When ctx is cancelled while Redis does not
// answer, that is noticed within 2 s, a deadline at once. At Redis's maxmemory it returns
// [link.ErrFull] at once, at the limits of its queue [ErrQueueFull].
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

// EnqueueMany stores any number of tasks, in their order, in batches of up to 500,
// but a task and those of its [New].Then in one. It returns a receipt for each,
// those of [New].Then behind that of their task. A task that is invalid fails the
// call before anything is stored. If it fails midway, the receipts of the batches
// before are returned with the error, and nothing of those behind is stored; when
// the outcome is unknown, up to three batches behind the receipts may be. With
// [ErrQueueFull] there is a receipt for each as well, without an id for those that
// were not accepted.
func (c *Client) EnqueueMany(ctx context.Context, news []New) ([]Receipt, error) {
	all, err := c.prepareMany(news)
	if err != nil {
		return nil, err
	}
	parts := split(ctx, all)
	receipts := make([]Receipt, 0, len(all))
	var full error
	posted := 0
	for i, s := range parts {
		// Some ahead, so that whoever sends need not wait for this goroutine.
		for ; posted < len(parts) && posted <= i+window; posted++ {
			c.post(parts[posted], len(parts) == 1)
		}
		if err := c.wait(s); err != nil {
			c.withdraw(parts[i+1 : posted]...)
			return receipts, fmt.Errorf("enqueue %s: %w", s.tasks[0].name, err)
		}
		for i := range s.tasks {
			receipt, err := s.receipt(i)
			receipts = append(receipts, receipt)
			if err != nil && full == nil {
				full = err
			}
		}
	}
	return receipts, full
}

// split cuts the tasks of one call into parts of the size of a batch. A task and
// those that are stored together with it stay in one.
func split(ctx context.Context, all []prepared) []*submission {
	parts := make([]*submission, 0, 1+len(all)/maxBatch)
	var last *submission
	for from := 0; from < len(all); {
		to, size := from, 0
		for to < len(all) && (to == from || all[to].then || to-from < maxBatch && size+len(all[to].tail) <= maxBatchBytes) {
			size += len(all[to].tail)
			to++
		}
		last = &submission{ctx: ctx, tasks: all[from:to], bytes: size, behind: last, done: make(chan struct{})}
		parts = append(parts, last)
		from = to
	}
	return parts
}

// receipt returns what became of one task of a submission.
func (s *submission) receipt(i int) (Receipt, error) {
	p, code := s.tasks[i], s.refused[i]
	switch holder, isUnique := strings.CutPrefix(code, "unique="); {
	case code == "":
		return Receipt{ID: p.id}, nil
	case isUnique:
		return Receipt{ID: holder, Duplicate: true}, nil
	case code == "taken":
		return Receipt{ID: p.id, Duplicate: true}, nil
	case code == "full":
		return Receipt{}, fmt.Errorf("enqueue %s: queue %s: %w", p.name, queueOf(p.line), ErrQueueFull)
	default:
		return Receipt{}, errors.New("enqueue " + p.name + ": " + code)
	}
}

func queueOf(line string) string { return record{line: line}.queue() }
