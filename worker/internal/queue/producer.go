package queue

import (
	"context"
	"fmt"
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

// Producer stores tasks in numbered batches, which Redis takes once however often
// they are sent. Calls that come in while two batches are on their way go together
// in the next one. Make one with [NewProducer].
type Producer struct {
	// OnEnd, when set, receives the tasks that were cancelled as they were stored. Set
	// it before the first use.
	OnEnd func(End)

	redis  redis.UniversalClient
	keys   link.Keys
	name   string
	closed error // calls end with it once the producer is closed
	serial atomic.Int64

	ctx    context.Context //nolint:containedctx // the producer's own: Close ends the batches that are on their way
	cancel context.CancelFunc
	active sync.WaitGroup

	mu      sync.Mutex
	waiting []*submission
	senders int      // at most window
	flying  []*batch // that have not ended
	sent    uint64   // the number of the last one
}

// NewProducer returns a producer that works until ctx ends or it is closed. Calls
// that still wait then, and later ones, end with an error that wraps closed.
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

// Close ends calls that still wait; what became of their tasks is unknown.
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
	// A Redis that is away forgets it by itself, later.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), time.Second)
	defer cancel()
	_ = p.redis.PExpire(ctx, p.keys.Producer(p.name), closedMemory).Err()
}

// Enqueue stores any number of tasks, in their order, in batches. It returns of how
// many, from the first on, it is known what became of them, and of these by position
// the codes of those that were refused: "taken" is the id, "unique=…" the unique
// key, by the task with that id, "full" the queue.
//
// After an error nothing behind these is stored; when its outcome is unknown, up to
// three batches behind them may be. It waits while Redis is away, as long as ctx lasts.
func (p *Producer) Enqueue(ctx context.Context, tasks []Task) (known int, refused map[int]string, err error) {
	parts := split(ctx, tasks)
	posted := 0
	for i, s := range parts {
		// Some ahead, so that whoever sends need not wait for this goroutine.
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

// submission is a part of one call's tasks, as much as fits into a batch.
type submission struct {
	ctx     context.Context //nolint:containedctx // says whether its caller still waits
	tasks   []Task
	bytes   int
	behind  *submission    // the part of the same call before it: this one is stored only if that was
	in      *batch         // once it is on its way; under Producer.mu
	done    chan struct{}  // closed when refused and err are set
	refused map[int]string // why a task was not stored, by position
	err     error
}

// split cuts the tasks of one call into parts of the size of a batch. A task and
// those that are stored together with it stay in one part.
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

// post sends a part, or leaves it to a sender that is at work: then it goes with the
// next batch. An idle caller, which would only wait, sends it itself when nothing
// else waits, and needs no other goroutine.
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
			own = p.next() // at once, so that nobody else's tasks join it
		}
	}
	p.mu.Unlock()
	switch {
	case own != nil:
		// As long as its caller's context lasts: a lone caller waits for nobody else's.
		p.send(own)
		if p.leave(own) {
			go p.sendAll()
		}
	case free:
		go p.sendAll()
	}
}

// finish ends the wait of the part's caller.
func (s *submission) finish(err error) {
	s.err = err
	close(s.done)
}

// wait returns how a part ended. When its caller's context ends first, the error is
// link.ErrUnavailable if the part was never sent, else link.ErrUnknownOutcome.
func (p *Producer) wait(s *submission) error {
	select {
	case <-s.done:
		return s.err
	case <-s.ctx.Done():
	}
	kind := link.ErrUnknownOutcome
	if p.withdraw(s); !p.wasSent(s) {
		kind = link.ErrUnavailable
	}
	select {
	case <-s.done: // both are so: this one knows more
		return s.err
	default:
		return fmt.Errorf("%w: %w", kind, context.Cause(s.ctx))
	}
}

// withdraw removes parts whose callers gave up from those that wait, at once: no part
// may be sent whose predecessor is gone, and while Redis is away they would add up.
func (p *Producer) withdraw(some ...*submission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range some {
		if at := slices.Index(p.waiting, s); at >= 0 {
			p.waiting = slices.Delete(p.waiting, at, at+1)
		}
	}
}

// wasSent reports whether a part was ever on its way.
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

// leave ends a batch, which may be nil, and reports whether its sender has to go
// on, because more parts wait.
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

// next makes a batch of the parts that wait, as many as fit, without those whose
// callers gave up; nil when none is left. The caller holds p.mu.
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
