package redisbus

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// maxQueued bounds the messages that wait, maxPipeline those in one round trip.
	maxQueued   = 8192
	maxPipeline = 256
	// Number and size in bytes of the buffers that are kept for the next messages.
	spareBuffers = 16
	spareBytes   = 1 << 10
)

// outbox gathers messages while the previous ones are on their way and then
// sends all of them at once: a single message is sent immediately, and a thousand
// cost a few round trips. One pipeline at a time keeps them in order.
type outbox struct {
	client *redis.Client

	mu      sync.Mutex
	queue   []posting
	numbers numbers
	// spare and buffers hold memory for the next queue and the next messages.
	spare   []posting
	buffers [][]byte
	// flushing is closed when the queue has been emptied; nil while it is empty.
	flushing chan struct{}
}

type posting struct {
	channel string
	// text is the channel, a zero byte and the message (see [header.appendUnsigned]).
	text []byte
	done func(receivers int64, err error)
}

func (p *posting) payload() []byte { return p.text[len(p.channel)+1:] }

// put numbers and queues a message; seal writes the message with the number seq into a
// buffer. lead means that no flush runs: the caller has to call flush.
func (o *outbox) put(p posting, now time.Time, seal func(to []byte, seq uint64) []byte) (lead bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= maxQueued {
		return false, ErrCongested
	}
	var buffer []byte
	if n := len(o.buffers); n > 0 {
		buffer, o.buffers = o.buffers[n-1], o.buffers[:n-1]
	}
	p.text = seal(buffer, o.numbers.next(p.channel, now))
	o.queue = append(o.queue, p)
	if o.flushing != nil {
		return false, nil
	}
	o.flushing = make(chan struct{})
	return true, nil
}

// flush sends the queued messages, and those that are queued meanwhile, until the queue is empty.
// The messages are those of many callers, so ctx must not end with one of them;
// the connection's own time limits bound each round trip.
func (o *outbox) flush(ctx context.Context) {
	var batch []posting
	for {
		// Under load other goroutines are about to post: they run first, so that their
		// messages come along. Without load this costs nothing.
		runtime.Gosched()
		o.mu.Lock()
		o.recycle(batch)
		if len(o.queue) == 0 {
			if cap(batch) <= maxPipeline { // do not keep the memory of a burst
				o.spare = batch[:0]
			}
			close(o.flushing)
			o.flushing = nil
			o.mu.Unlock()
			return
		}
		if batch == nil {
			batch, o.spare = o.spare, nil // the memory is this flush's until it returns
		}
		batch, o.queue = o.queue, batch[:0]
		o.mu.Unlock()
		for rest := batch; len(rest) > 0; rest = rest[min(len(rest), maxPipeline):] {
			o.send(ctx, rest[:min(len(rest), maxPipeline)])
		}
	}
}

// recycle keeps some of the buffers of messages that have been sent.
func (o *outbox) recycle(batch []posting) {
	for i := range batch {
		if text := batch[i].text; cap(text) <= spareBytes && len(o.buffers) < spareBuffers {
			o.buffers = append(o.buffers, text[:0])
		}
	}
	clear(batch)
}

func (o *outbox) send(ctx context.Context, batch []posting) {
	commands := make([]*redis.IntCmd, len(batch))
	for i, p := range batch {
		commands[i] = redis.NewIntCmd(ctx, "publish", p.channel, p.payload())
	}
	if len(batch) == 1 {
		_ = o.client.Process(ctx, commands[0])
	} else {
		pipeline := o.client.Pipeline()
		for _, c := range commands {
			_ = pipeline.Process(ctx, c)
		}
		_, _ = pipeline.Exec(ctx) // each command has its own error
	}
	for i, p := range batch {
		if p.done != nil {
			receivers, err := commands[i].Result()
			if err != nil {
				err = link.Explain(err)
			}
			p.done(receivers, err)
		}
	}
}

// drain waits until nothing is being flushed.
func (o *outbox) drain() {
	for {
		o.mu.Lock()
		flushing := o.flushing
		o.mu.Unlock()
		if flushing == nil {
			return
		}
		<-flushing
	}
}
