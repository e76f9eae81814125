package cache

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/flight"
	"github.com/stellarfw/stellar/redisbus/link"
)

// batcher sends the commands of concurrent callers together in pipelines; the command of a
// lone caller is sent at once (see package flight).
type batcher struct {
	*redis.Client
	queue *flight.Queue[*redis.Cmd]
}

func newBatcher(client *redis.Client) *batcher {
	b := &batcher{Client: client}
	// The bounds are small because all callers of a pipeline wait for its last answer.
	bounds := flight.Limits{Flights: 2, Items: 256, Bytes: 256 << 10}
	b.queue = flight.New(bounds, func(cmd *redis.Cmd) int { return link.TextSize(cmd.Args()) }, b.send)
	return b
}

// Process implements [link.Processor].
func (b *batcher) Process(ctx context.Context, cmd redis.Cmder) error {
	reply, ok := cmd.(*redis.Cmd)
	if !ok {
		return b.Client.Process(ctx, cmd)
	}
	if b.queue.Start() {
		err := b.Client.Process(ctx, cmd)
		b.queue.End(ctx)
		return err
	}
	// The pipeline gets a copy: the caller may give up and use cmd while it is being written.
	together := redis.NewCmd(ctx, cmd.Args()...)
	switch sent, err := b.queue.Wait(ctx, together); {
	case err == nil:
		reply.SetVal(together.Val())
		cmd.SetErr(together.Err())
	case sent:
		cmd.SetErr(err)
	default:
		cmd.SetErr(link.NotSent(err))
	}
	return cmd.Err()
}

// send sends the commands as one pipeline. The connection's timeouts bound the time.
func (b *batcher) send(ctx context.Context, commands []flight.Item[*redis.Cmd]) {
	p := b.Client.Pipeline()
	for _, c := range commands {
		_ = p.Process(ctx, c.Value)
	}
	_, err := p.Exec(ctx)
	for _, c := range commands {
		if cmd := c.Value; err != nil && cmd.Err() == nil && cmd.Val() == nil && !errors.Is(err, redis.Nil) {
			cmd.SetErr(err)
		}
	}
}
