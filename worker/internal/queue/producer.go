package queue

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Bounds of one batch: tasks and bytes of payload.
const (
	MaxBatch      = 500
	maxBatchBytes = 1 << 20
)

// producerMemory is how long Redis remembers a producer that sends nothing: far
// longer than any batch is repeated.
const producerMemory = 24 * time.Hour

// closedMemory is how long Redis remembers a producer that was closed: a copy of
// its last batch may still be on its way.
const closedMemory = time.Minute

// window is how many batches may be on their way at once: while Redis works on
// one, the producer encodes the next. The parts of one call are stored in their
// order nevertheless, whichever connection brings them.
const window = 2

// Producer stores tasks in numbered batches. Redis stores each batch once, however often
// it is sent. Calls made while two batches are in flight share the next batch. Make a
// producer with [NewProducer].
type Producer struct {
	// OnEnd, when set, is called for each task that was cancelled by the script that
	// stored it. Set OnEnd before the first use.
	OnEnd func(End)
	// Reports logs batches that are repeated; nil: nothing does. Set it before the first use.
	Reports *link.Reports

	redis  redis.UniversalClient
	keys   link.Keys
	name   string
	closed error // the error of calls that Close interrupts, and of later calls
	serial atomic.Int64

	ctx    context.Context //nolint:containedctx // the producer's own: Close ends the batches that are on their way
	cancel context.CancelFunc
	active sync.WaitGroup

	mu      sync.Mutex
	waiting []*submission
	senders int      // at most window
	flying  []*batch // in flight, oldest first
	sent    uint64   // the number of the last batch
}

// NewProducer returns a producer that works until ctx ends or [Producer.Close] is called.
// Calls that still wait then, and later calls, return an error that wraps closed.
func NewProducer(ctx context.Context, c redis.UniversalClient, keys link.Keys, closed error) *Producer {
	p := &Producer{redis: c, keys: keys, name: newProducer(), closed: closed}
	p.ctx, p.cancel = context.WithCancel(ctx)
	return p
}

// Err returns nil until the producer is closed.
func (p *Producer) Err() error {
	if p.ctx.Err() != nil {
		return p.closed
	}
	return nil
}

// Close ends the calls that still wait, and returns when no batch is in flight. Whether
// the tasks of these calls were stored is unknown.
func (p *Producer) Close() {
	p.mu.Lock()
	p.cancel() // a later call sees it, and does not begin
	p.mu.Unlock()
	p.active.Wait()
	p.mu.Lock()
	used := p.sent > 0
	p.sent = 0
	p.mu.Unlock()
	if !used {
		return
	}
	// If Redis is not available, it forgets the producer after producerMemory.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), time.Second)
	defer cancel()
	_ = p.redis.PExpire(ctx, p.keys.Producer(p.name), closedMemory).Err()
}

// Enqueue stores any number of tasks, in their order, in batches. While Redis is not
// available it waits until ctx ends. known is the number of tasks, from the first on,
// whose outcome is known. refused holds the codes of known tasks that were not stored, by
// position from 0: "taken" if the id is taken, "unique=…" if the task with that id has
// the unique key, "full" if the queue is full.
//
// After an error the tasks after the known ones are not stored, except if the error's
// outcome is unknown: then up to three batches of them may be.
func (p *Producer) Enqueue(ctx context.Context, tasks []Task) (known int, refused map[int]string, err error) {
	if err := link.Cancelled(ctx); err != nil {
		return 0, nil, err
	}
	parts := split(ctx, tasks)
	posted := 0
	for i, s := range parts {
		// Post some parts ahead, so that the senders need not wait for this goroutine.
		for ; posted < len(parts) && posted <= i+window; posted++ {
			p.post(parts[posted], len(parts) == 1)
		}
		if err := p.wait(s); err != nil {
			p.withdraw(parts[i+1 : posted]...)
			return known, refused, err
		}
		for at, code := range s.refused {
			if refused == nil {
				refused = map[int]string{}
			}
			refused[known+at] = code
		}
		known += len(s.tasks)
	}
	return known, refused, nil
}

// submission is a part of one call's tasks that fits into one batch.
type submission struct {
	ctx     context.Context //nolint:containedctx // says whether its caller still waits
	tasks   []Task
	bytes   int
	behind  *submission    // the previous part of the same call, which must be stored first
	in      *batch         // the batch that sends the part; nil before; guarded by Producer.mu
	done    chan struct{}  // closed when refused and err are set
	refused map[int]string // why a task was not stored, by position
	err     error
}

// split cuts the tasks of one call into parts that fit into a batch each. A task and the
// tasks that are stored together with it ([Task].Then) stay in one part.
func split(ctx context.Context, all []Task) []*submission {
	parts := make([]*submission, 0, 1+len(all)/MaxBatch)
	var last *submission
	for from := 0; from < len(all); {
		to, size := from, 0
		for to < len(all) && (to == from || all[to].Then || to-from < MaxBatch && size+len(all[to].tail) <= maxBatchBytes) {
			size += len(all[to].tail)
			to++
		}
		last = &submission{ctx: ctx, tasks: all[from:to], bytes: size, behind: last, done: make(chan struct{})}
		parts = append(parts, last)
		from = to
	}
	return parts
}

// post adds a part to the waiting ones. If fewer than window senders run, it starts a
// sender; otherwise a running sender takes the part with its next batch. An idle caller,
// which would only wait for the part, sends it on its own goroutine when no other part
// waits.
func (p *Producer) post(s *submission, idle bool) {
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		s.finish(p.closed)
		return
	}
	p.waiting = append(p.waiting, s)
	free := p.senders < window
	var own *batch
	if free {
		p.senders++
		p.active.Add(1)
		if idle && len(p.waiting) == 1 {
			own = p.next() // before p.mu is released, so that no other caller's tasks join the batch
		}
	}
	p.mu.Unlock()
	switch {
	case own != nil:
		// The batch ends with its caller's context: the caller does not wait for others.
		p.send(own)
		if p.leave(own) {
			go p.sendAll()
		}
	case free:
		go p.sendAll()
	}
}

// finish sets the part's error and wakes its caller.
func (s *submission) finish(err error) {
	s.err = err
	close(s.done)
}

// wait waits until a part has ended. When its caller's context ends first, the error is
// that of link.GaveUp if the part was never sent, else link.ErrUnknownOutcome.
func (p *Producer) wait(s *submission) error {
	select {
	case <-s.done:
		return s.err
	case <-s.ctx.Done():
	}
	err := link.Unanswered(context.Cause(s.ctx))
	if p.withdraw(s); !p.wasSent(s) {
		err = link.GaveUp(s.ctx, nil)
	}
	select {
	case <-s.done: // both channels are ready: the part's own outcome is more precise
		return s.err
	default:
		return err
	}
}

// withdraw removes parts whose callers gave up from the waiting ones, at once: no part
// may be sent after its predecessor was withdrawn, and while Redis is not available
// abandoned parts would accumulate.
func (p *Producer) withdraw(some ...*submission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range some {
		if at := slices.Index(p.waiting, s); at >= 0 {
			p.waiting = slices.Delete(p.waiting, at, at+1)
		}
	}
}

// wasSent reports whether a part was ever put into a batch.
func (p *Producer) wasSent(s *submission) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.in != nil
}

// sendAll sends batch after batch until no part waits.
func (p *Producer) sendAll() {
	for {
		p.mu.Lock()
		b := p.next()
		p.mu.Unlock()
		if b != nil {
			p.send(b)
			runtime.Gosched() // callers that have their answer may have more tasks
		}
		if !p.leave(b) {
			return
		}
	}
}

// leave marks a batch, which may be nil, as ended. It reports whether the sender has to
// go on because more parts wait; if not, the sender no longer counts as running.
func (p *Producer) leave(b *batch) (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b != nil {
		b.over, b.parts = true, nil
		close(b.ended)
		p.flying = slices.DeleteFunc(p.flying, func(other *batch) bool { return other == b })
	}
	if len(p.waiting) > 0 {
		return true
	}
	p.senders--
	p.active.Done()
	return false
}

// next makes a batch of as many waiting parts as fit. It drops parts whose callers gave
// up, and returns nil when no part is left. The caller holds p.mu.
func (p *Producer) next() *batch {
	b := &batch{ended: make(chan struct{})}
	count, size, taken := 0, 0, 0
	for _, s := range p.waiting {
		if len(b.parts) > 0 && (s.behind != nil || count+len(s.tasks) > MaxBatch || size+s.bytes > maxBatchBytes) {
			break
		}
		taken++
		if s.ctx.Err() == nil {
			b.parts = append(b.parts, s)
			s.in = b
			count += len(s.tasks)
			size += s.bytes
			if s.behind != nil {
				break
			}
		}
	}
	clear(p.waiting[:taken])
	p.waiting = p.waiting[taken:]
	if len(b.parts) == 0 {
		return nil
	}
	p.sent++
	b.number = p.sent
	p.flying = append(p.flying, b)
	return b
}
