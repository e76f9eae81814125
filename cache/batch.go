package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// batcher sends commands of concurrent callers together. A command that finds no
// other on its way goes at once, on its caller's goroutine; those that come while
// it is on its way wait for it and then share a pipeline. So a lone caller waits
// for nothing, and many share the cost of a round trip.
type batcher struct {
	redis.UniversalClient

	mu      sync.Mutex
	waiting []*request
	flying  int
}

const (
	// maxFlying is how many round trips are under way at once: while Redis works
	// on one pipeline, the next is written.
	maxFlying = 2
	// maxBatch and maxBatchBytes bound a pipeline: all its callers wait for its last answer.
	maxBatch      = 256
	maxBatchBytes = 256 << 10
)

// request is a command that waits to be sent. Its caller may give it up while it
// is being written, so that it is a copy.
type request struct {
	cmd   once
	bytes int
	done  chan struct{}
}

// once is a command that the client library must not execute twice.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// Process implements [link.Processor].
func (b *batcher) Process(ctx context.Context, cmd redis.Cmder) error {
	reply, ok := cmd.(interface{ SetVal(val any) })
	if !ok {
		return b.UniversalClient.Process(ctx, cmd)
	}
	b.mu.Lock()
	if b.flying < maxFlying {
		b.flying++
		b.mu.Unlock()
		err := b.UniversalClient.Process(ctx, cmd)
		b.land(ctx)
		return err
	}
	r := &request{cmd: once{redis.NewCmd(ctx, cmd.Args()...)}, bytes: size(cmd.Args()), done: make(chan struct{})}
	b.waiting = append(b.waiting, r)
	b.mu.Unlock()
	select {
	case <-r.done:
		reply.SetVal(r.cmd.Val())
		cmd.SetErr(r.cmd.Err())
	case <-ctx.Done():
		cmd.SetErr(b.withdraw(ctx, r))
	}
	return cmd.Err()
}

// withdraw gives a request up. One that was not sent yet will not be.
func (b *batcher) withdraw(ctx context.Context, r *request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, r); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		return fmt.Errorf("%w: %w", link.ErrUnavailable, ctx.Err())
	}
	return ctx.Err()
}

// land is called when a lone command has come back: who waited meanwhile goes next.
func (b *batcher) land(ctx context.Context) {
	if batch := b.next(); batch != nil {
		go b.fly(context.WithoutCancel(ctx), batch)
	}
}

// next takes the requests that go together, or counts one round trip less.
func (b *batcher) next() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.flying--
		return nil
	}
	n, bytes := 0, 0
	for n < len(b.waiting) && n < maxBatch && (n == 0 || bytes+b.waiting[n].bytes <= maxBatchBytes) {
		bytes += b.waiting[n].bytes
		n++
	}
	batch := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	return batch
}

// fly sends batches until nobody waits. Each is bounded by the connection's timeouts.
func (b *batcher) fly(ctx context.Context, batch []*request) {
	for ; batch != nil; batch = b.next() {
		p := b.UniversalClient.Pipeline()
		for _, r := range batch {
			_ = p.Process(ctx, r.cmd)
		}
		_, err := p.Exec(ctx)
		for _, r := range batch {
			if err != nil && r.cmd.Err() == nil && r.cmd.Val() == nil && !errors.Is(err, redis.Nil) {
				r.cmd.SetErr(err)
			}
			close(r.done)
		}
	}
}

func size(args []any) int {
	n := 0
	for _, a := range args {
		switch a := a.(type) {
		case string:
			n += len(a)
		case []byte:
			n += len(a)
		}
	}
	return n
}
