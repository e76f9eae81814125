package redisbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// ErrTooLarge is what a message ends with that has more than [MaxMessage] bytes.
var ErrTooLarge = fmt.Errorf("message has more than %d bytes", MaxMessage)

// ErrCongested is what a message ends with that nobody waits for, when more
// than a few thousand of them wait for Redis already.
var ErrCongested = errors.New("too many messages wait to be published")

const (
	// maxQueued bounds the messages in the queue, most the pipeline's commands.
	maxQueued   = 8192
	maxPipeline = 256
	// Buffers that are kept for the next messages: so many, of at most so many bytes.
	spareBuffers = 16
	spareBytes   = 1 << 10
)

// outbox gathers messages while the previous ones are on their way and then
// sends all of them at once: a lone message waits for nothing, and a thousand
// cost a few round trips. One pipeline at a time keeps them in order.
type outbox struct {
	publisher func(ctx context.Context) (redis.UniversalClient, error)

	mu      sync.Mutex
	queue   []posting
	numbers numbers
	// spare and buffers are used again: room for a queue, and for messages.
	spare   []posting
	buffers [][]byte
	// flushing is closed when the queue has been emptied; nil while it is empty.
	flushing chan struct{}
	// wakeWatchdog hands the work to the resident flusher; nil while there is none. There
	// is one only while the outbox is open.
	wake      chan context.Context
	opened    bool
	used      bool // since the last relax
	residents sync.WaitGroup
}

type posting struct {
	channel string
	// text is the channel, a zero byte and the message (see [header.appendOpen]).
	text []byte
	done func(receivers int64, err error)
}

func (p *posting) payload() []byte { return p.text[len(p.channel)+1:] }

// put numbers and queues a message; seal completes it, with its number, in a
// buffer. Where lead is true nobody is flushing, and the caller has to.
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

// startFlush has somebody else flush. Whoever comes first must not take the
// others' messages with it when its context ends; the connection's own time
// limits bound the flush.
func (o *outbox) startFlush(ctx context.Context) {
	free := context.WithoutCancel(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.opened {
		go o.flush(free)
		return
	}
	if o.wake == nil {
		wake := make(chan context.Context, 1)
		o.wake = wake
		o.residents.Go(func() { o.reside(wake) })
	}
	o.used = true
	o.wake <- free // there is room: nothing else is being flushed
}

// reside flushes what is handed over, until wake is closed. Messages go out
// without it too, but a goroutine that stays has its stack already.
func (o *outbox) reside(wake <-chan context.Context) {
	for free := range wake {
		o.flush(free)
	}
}

// relax ends the resident flusher when there was nothing to flush since the last
// time: a thousand nodes at rest would keep a thousand stacks.
func (o *outbox) relax() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.used {
		o.dismiss()
	}
	o.used = false
}

// dismiss ends the resident flusher when it has flushed what it was given. The
// caller holds o.mu.
func (o *outbox) dismiss() {
	if o.wake != nil {
		close(o.wake)
		o.wake = nil
	}
}

func (o *outbox) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = true
}

// close waits for the resident flusher.
func (o *outbox) close() {
	o.mu.Lock()
	o.opened = false
	o.dismiss()
	o.mu.Unlock()
	o.residents.Wait()
}

func (o *outbox) flush(ctx context.Context) {
	var batch []posting
	for {
		// Under load others are about to post: they go first and come along. Alone,
		// this costs nothing.
		runtime.Gosched()
		o.mu.Lock()
		o.recycle(batch)
		if len(o.queue) == 0 {
			if cap(batch) <= maxPipeline { // a burst must not be paid for ever
				o.spare = batch[:0]
			}
			close(o.flushing)
			o.flushing = nil
			o.mu.Unlock()
			return
		}
		if batch == nil {
			batch, o.spare = o.spare, nil // it must not be in use twice
		}
		batch, o.queue = o.queue, batch[:0]
		o.mu.Unlock()
		for rest := batch; len(rest) > 0; rest = rest[min(len(rest), maxPipeline):] {
			o.send(ctx, rest[:min(len(rest), maxPipeline)])
		}
	}
}

// recycle keeps some of the buffers of what has been sent.
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
	client, err := o.publisher(ctx)
	if err != nil {
		for _, c := range commands {
			c.SetErr(err)
		}
	} else if len(batch) == 1 {
		_ = client.Process(ctx, commands[0])
	} else {
		pipeline := client.Pipeline()
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

// encodeBody returns the body as JSON, and an error for one that receivers would drop.
func encodeBody(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	text, err := wire.Encode(body)
	if err != nil {
		return nil, fmt.Errorf("message body: %w", err)
	}
	if len(text) > MaxMessage {
		return nil, ErrTooLarge
	}
	if _, raw := body.(json.RawMessage); raw && len(text) == 0 {
		return nil, nil
	}
	if err := wire.Check(text, 1); err != nil {
		return nil, fmt.Errorf("message body: %w", err)
	}
	return text, nil
}
