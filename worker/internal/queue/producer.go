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

// window is how many batches may be on their way at once: while Redis works on one, the
// producer encodes the next, if that is a full one. What fills no batch gathers until the last
// one is answered: two half batches cost Redis and the callers twice as much as one. The
// parts of one call are stored in their order nevertheless, whichever connection brings them.
const window = 2

// lateAfter is how long a part waits for a batch to be answered before another one flies beside
// it, full or not: that batch may have met a broken connection, or need several tries.
const lateAfter = 20 * time.Millisecond

// Producer stores tasks in numbered batches. Redis stores each batch once, however often
// it is sent. Calls made while a batch is in flight share the next batch, whichever
// [Caller] they come from: the nodes of a process share a producer. Make one with
// [NewProducer].
type Producer struct {
	// OnEnd, when set, is called for each task that was cancelled by the script that
	// stored it. Set OnEnd before the first use.
	OnEnd func(End)
	// Reports logs batches that are repeated; nil: nothing does. Set it before the first use.
	Reports *link.Reports

	redis  redis.UniversalClient
	keys   link.Keys
	name   string
	serial atomic.Int64
	clock  atomic.Pointer[Clock] // for large calls, see bulk.go; without Redis's time after a refusal

	ctx    context.Context //nolint:containedctx // the producer's own: Close ends the batches that are on their way
	cancel context.CancelFunc
	active sync.WaitGroup

	mu      sync.Mutex
	waiting []*submission
	senders int         // at most window
	flying  []*batch    // in flight, oldest first
	sent    uint64      // the number of the last batch
	late    *time.Timer // calls help, lateAfter since the oldest waiting part came, more or less
}

// NewProducer returns a producer that works until ctx ends or [Producer.Close] is called.
func NewProducer(ctx context.Context, c redis.UniversalClient, keys link.Keys) *Producer {
	p := &Producer{redis: c, keys: keys, name: newProducer()}
	p.ctx, p.cancel = context.WithCancel(ctx)
	return p
}

// Close ends the calls of all callers that still wait, and returns when no batch is in
// flight. Whether the tasks of these calls were stored is unknown.
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

// submission is a part of one call's tasks that fits into one batch.
type submission struct {
	ctx     context.Context //nolint:containedctx // of the call
	caller  *Caller
	tasks   []Task
	bytes   int
	behind  *submission    // the previous part of the same call, which must be stored first
	in      *batch         // the batch that sends the part; nil before; guarded by Producer.mu
	done    chan struct{}  // closed when refused and err are set
	refused map[int]string // why a task was not stored, by position
	err     error
}

// gone reports whether nobody waits for the part any more.
func (s *submission) gone() bool { return s.ctx.Err() != nil || s.caller.ctx.Err() != nil }

// split cuts the tasks of one call into parts that fit into a batch each. A task and the
// tasks that are stored together with it ([Task].Then) stay in one part.
func (c *Caller) split(ctx context.Context, all []Task) []*submission {
	parts := make([]*submission, 0, 1+len(all)/MaxBatch)
	var last *submission
	for from := 0; from < len(all); {
		to, size := from, 0
		for to < len(all) && (to == from || all[to].Then || to-from < MaxBatch && size+all[to].size() <= maxBatchBytes) {
			size += all[to].size()
			to++
		}
		last = &submission{ctx: ctx, caller: c, tasks: all[from:to], bytes: size, behind: last, done: make(chan struct{})}
		parts = append(parts, last)
		from = to
	}
	return parts
}

// post adds a part to the waiting ones. If no sender runs, or fewer than window do and a batch
// can be filled or one is stuck, it starts a sender; otherwise a running sender takes the part with its next
// batch, or help does. An idle caller, which would only wait for the part, sends it on its own
// goroutine when no other part waits.
func (p *Producer) post(s *submission, idle bool) {
	p.mu.Lock()
	if p.ctx.Err() != nil || s.caller.ctx.Err() != nil { // the caller's ends a moment after p.ctx
		p.mu.Unlock()
		s.finish(link.ErrNotSent)
		return
	}
	p.waiting = append(p.waiting, s)
	free := p.senders == 0 || p.senders < window && (p.fills() || p.stuck())
	if !free && len(p.waiting) == 1 {
		p.helpLater()
	}
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

// fills reports whether the waiting parts fill a batch. The caller holds p.mu.
func (p *Producer) fills() bool {
	count, size := 0, 0
	for _, s := range p.waiting {
		if count, size = count+len(s.tasks), size+s.bytes; count >= MaxBatch || size >= maxBatchBytes {
			return true
		}
	}
	return false
}

// leave marks a batch, which may be nil, as ended. It reports whether the sender has to
// go on because more parts wait than other senders take; if not, the sender no longer counts as running.
func (p *Producer) leave(b *batch) (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b != nil {
		p.over(b)
	}
	if len(p.waiting) > 0 && (p.senders == 1 || p.fills() || p.stuck()) {
		return true
	}
	p.senders--
	p.active.Done()
	if len(p.waiting) > 0 {
		p.helpLater()
	}
	return false
}

// stuck reports whether a batch has been in flight for lateAfter. The caller holds p.mu.
func (p *Producer) stuck() bool {
	return len(p.flying) > 0 && time.Since(p.flying[0].since) > lateAfter
}

// helpLater has help called after lateAfter. The caller holds p.mu.
func (p *Producer) helpLater() {
	if p.late == nil {
		p.late = time.AfterFunc(lateAfter, p.help)
	} else {
		p.late.Reset(lateAfter)
	}
}

// help sends the parts that have waited for too long.
func (p *Producer) help() {
	p.mu.Lock()
	late := len(p.waiting) > 0 && p.senders < window && p.ctx.Err() == nil
	if late {
		p.senders++
		p.active.Add(1)
	}
	p.mu.Unlock()
	if late {
		p.sendAll()
	}
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
		if !s.gone() {
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
	return p.number(b)
}

// number gives a batch the next number. The caller holds p.mu.
func (p *Producer) number(b *batch) *batch {
	p.sent++
	b.number, b.since = p.sent, time.Now()
	p.flying = append(p.flying, b)
	return b
}

// over marks a batch as ended. The caller holds p.mu.
func (p *Producer) over(b *batch) {
	b.over, b.parts = true, nil
	close(b.ended)
	p.flying = slices.DeleteFunc(p.flying, func(other *batch) bool { return other == b })
}
