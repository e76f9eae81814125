package redisbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/wire"
)

// ErrTooLarge is what a message ends with that has more than [MaxMessage] bytes.
var ErrTooLarge = fmt.Errorf("message has more than %d bytes", MaxMessage)

// ErrCongested is what a message ends with that nobody waits for, when more
// than a few thousand of them wait for Redis already.
var ErrCongested = errors.New("too many messages wait to be published")

const (
	// mostPosts bounds the messages in the queue, most the pipeline's commands.
	mostPosts    = 8192
	mostPipeline = 256
)

// outbox gathers messages while the previous ones are on their way and then
// sends all of them at once: a lone message waits for nothing, and a thousand
// cost a few round trips. One pipeline at a time keeps them in order.
type outbox struct {
	publisher func(ctx context.Context) (redis.UniversalClient, error)

	mu      sync.Mutex
	queue   []posting
	spare   []posting
	numbers numbers
	running chan struct{} // closed when the flusher ends; nil while there is none
}

type posting struct {
	channel string
	payload []byte
	done    func(receivers int64, err error)
}

// put numbers and queues a message; seal completes it with its number.
func (o *outbox) put(ctx context.Context, p posting, now time.Time, seal func(seq uint64) []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= mostPosts {
		return ErrCongested
	}
	p.payload = seal(o.numbers.next(p.channel, now))
	o.queue = append(o.queue, p)
	if o.running == nil {
		o.running = make(chan struct{})
		// Whoever comes first must not take the others' messages with it when its
		// context ends; the connection's own time limits bound the flush.
		go o.flush(context.WithoutCancel(ctx), o.running)
	}
	return nil
}

func (o *outbox) flush(ctx context.Context, ended chan struct{}) {
	defer close(ended)
	var batch []posting
	for {
		o.mu.Lock()
		clear(batch)
		if len(o.queue) == 0 {
			o.running, o.spare = nil, batch[:0]
			o.mu.Unlock()
			return
		}
		batch, o.queue = o.queue, append(batch[:0], o.spare[:0]...)
		o.mu.Unlock()
		for rest := batch; len(rest) > 0; rest = rest[min(len(rest), mostPipeline):] {
			o.send(ctx, rest[:min(len(rest), mostPipeline)])
		}
	}
}

func (o *outbox) send(ctx context.Context, batch []posting) {
	commands := make([]*redis.IntCmd, len(batch))
	for i, p := range batch {
		commands[i] = redis.NewIntCmd(ctx, "publish", p.channel, p.payload)
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
				err = Explain(err)
			}
			p.done(receivers, err)
		}
	}
}

// drain waits until no flusher runs.
func (o *outbox) drain() {
	for {
		o.mu.Lock()
		running := o.running
		o.mu.Unlock()
		if running == nil {
			return
		}
		<-running
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
