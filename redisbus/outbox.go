package redisbus

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// maxQueued bounds the messages of a bus that wait, maxPipeline those in one round trip,
	// maxFlights the round trips at a time.
	maxQueued   = 8192
	maxPipeline = 256
	maxFlights  = 2
	// Number and size in bytes of the buffers that are kept for the next messages.
	spareBuffers = maxPipeline
	spareBytes   = 1 << 10
)

// Outbox gathers messages while others are on their way and then sends all of them at once:
// a single message is sent immediately, and a thousand cost a few round trips. The buses of
// a process share one. The messages of a bus are in one pipeline at a time, which keeps them
// in order. Pipelines are shared out among the buses with messages, so that a flood of one
// bus holds no other up.
type Outbox struct {
	client *redis.Client

	mu      sync.Mutex
	landed  sync.Cond // on mu: messages have been sent
	ready   []*lane   // the lanes with messages, except those with messages in a pipeline
	flights int
	closed  bool
	idle    []*publishConn // the connections that no pipeline uses
	// spare and buffers hold memory for the next pipelines and the next messages.
	spare   []*batch
	buffers [][]byte
}

// lane has the messages of one bus.
type lane struct {
	*Outbox
	alone bool // no other bus shares the outbox

	// order is held while a message gets its number and its place.
	order   sync.Mutex
	numbers numbers

	// Outbox.mu guards the rest.
	queue  []posting
	flying bool // messages are in a pipeline
	ended  bool // the bus is closed
}

// batch is what goes in one pipeline.
type batch struct {
	lanes    []*lane
	postings []posting
}

type posting struct {
	channel string
	// text is the channel, a zero byte and the message (see [header.appendUnsigned]).
	text []byte
	done func(receivers int64, err error)
}

func (p *posting) payload() []byte { return p.text[len(p.channel)+1:] }

// NewOutbox returns an outbox that connects as this client does. It has up to two connections
// of its own, until [Outbox.Close].
func NewOutbox(client *redis.Client) *Outbox {
	o := &Outbox{client: client}
	o.landed.L = &o.mu
	return o
}

// put numbers and queues a message; seal writes the message with the number seq into a
// buffer. lead means that another pipeline may go: the caller has to call flush.
func (l *lane) put(p posting, now time.Time, seal func(to []byte, seq uint64) []byte) (lead bool, err error) {
	l.order.Lock()
	defer l.order.Unlock()
	buffer, err := l.admit()
	if err != nil {
		return false, err
	}
	p.text = seal(buffer, l.numbers.next(p.channel, now))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, p)
	if l.flying || len(l.queue) > 1 {
		return false, nil
	}
	l.ready = append(l.ready, l)
	if l.flights == maxFlights {
		return false, nil
	}
	l.flights++
	return true, nil
}

// admit returns a buffer for a message, or the reason why there can be no further one.
func (l *lane) admit() (buffer []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, link.NotSent(ErrClosed)
	}
	if len(l.queue) >= maxQueued {
		return nil, ErrCongested
	}
	if n := len(l.buffers); n > 0 {
		buffer, l.buffers = l.buffers[n-1], l.buffers[:n-1]
	}
	return buffer, nil
}

// close refuses further messages.
func (l *lane) close() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	if l.alone {
		l.Outbox.Close()
	}
}

// drain waits until all messages have been sent.
func (l *lane) drain() {
	l.mu.Lock()
	for l.flying || len(l.queue) > 0 {
		l.landed.Wait()
	}
	l.mu.Unlock()
	if l.alone {
		l.hangUp()
	}
}

// flush sends the queued messages, and those that are queued meanwhile, until none is left
// that is not in another pipeline. The messages are those of many callers, so ctx must not
// end with one of them; the connection's own time limits bound each round trip.
func (o *Outbox) flush(ctx context.Context) {
	var b *batch
	for {
		// Under load other goroutines are about to post: they run first, so that their
		// messages come along. Without load this costs nothing.
		runtime.Gosched()
		if b = o.next(b); b == nil {
			return
		}
		o.send(ctx, b.postings)
	}
}

// next returns what goes in the next pipeline, nil if nothing waits. b was in the last one.
func (o *Outbox) next(b *batch) *batch {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b != nil {
		o.recycle(b)
	}
	if len(o.ready) == 0 {
		o.flights--
		return nil
	}
	if b = &(batch{}); len(o.spare) > 0 {
		b, o.spare = o.spare[len(o.spare)-1], o.spare[:len(o.spare)-1]
	}
	share := max(1, maxPipeline/len(o.ready))
	b.lanes = append(b.lanes, o.ready[:min(len(o.ready), maxPipeline)]...)
	o.ready = slices.Delete(o.ready, 0, len(b.lanes))
	for _, l := range b.lanes {
		n := min(share, len(l.queue))
		b.postings = append(b.postings, l.queue[:n]...)
		l.queue, l.flying = slices.Delete(l.queue, 0, n), true
	}
	return b
}

// recycle ends the pipeline of the batch, and keeps some of its memory.
func (o *Outbox) recycle(b *batch) {
	for _, l := range b.lanes {
		if l.flying = false; len(l.queue) > 0 {
			o.ready = append(o.ready, l)
		} else if cap(l.queue) > maxPipeline { // do not keep the memory of a burst
			l.queue = nil
		}
	}
	for _, p := range b.postings {
		if cap(p.text) <= spareBytes && len(o.buffers) < spareBuffers {
			o.buffers = append(o.buffers, p.text[:0])
		}
	}
	clear(b.lanes)
	clear(b.postings)
	b.lanes, b.postings = b.lanes[:0], b.postings[:0]
	if len(o.spare) < maxFlights {
		o.spare = append(o.spare, b)
	}
	o.landed.Broadcast()
}

// send publishes the messages.
func (o *Outbox) send(ctx context.Context, postings []posting) {
	c, err := o.connection(ctx)
	if err != nil {
		tellAll(postings, err)
		return
	}
	if err = c.publish(postings); err != nil {
		c.Close()
		return
	}
	o.keep(c)
}
