package worker

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// layoutGate is a hook of a Redis client that holds commands back until the
// namespace was found to have a layout that the program may work with. It is for
// programs that do not begin with a look at Redis. Commands that come together
// each look, until one has found it: nobody waits for another.
type layoutGate struct {
	look   func(context.Context) error
	passed atomic.Bool
}

// lookKey marks the context of the look's own commands, which nothing holds back.
type lookKey struct{}

func (g *layoutGate) pass(ctx context.Context) error {
	if g.passed.Load() || ctx.Value(lookKey{}) != nil {
		return nil
	}
	err := g.look(context.WithValue(ctx, lookKey{}, true))
	if err == nil {
		g.passed.Store(true)
		return nil
	}
	if link.IsOutage(err) {
		return link.NotSent(err)
	}
	return err
}

// ProcessHook implements redis.Hook.
func (g *layoutGate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := g.pass(ctx); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (g *layoutGate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := g.pass(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}

// DialHook implements redis.Hook.
func (g *layoutGate) DialHook(next redis.DialHook) redis.DialHook { return next }
