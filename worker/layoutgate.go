package worker

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// layoutGate is a hook of a Redis client. Before the first command it checks that the
// program may work with the layout of the namespace's data; if not, or if the check fails,
// the command fails. It is for a [Client], which does not wait for Redis when it is made.
// Concurrent first commands each make the check, so that none waits for another.
type layoutGate struct {
	check  func(context.Context) error
	passed atomic.Bool
}

// gateCheckKey marks the context of the check's own commands, which pass the gate.
type gateCheckKey struct{}

func (g *layoutGate) pass(ctx context.Context) error {
	if g.passed.Load() || ctx.Value(gateCheckKey{}) != nil {
		return nil
	}
	err := g.check(context.WithValue(ctx, gateCheckKey{}, true))
	if err == nil {
		g.passed.Store(true)
		return nil
	}
	if link.IsOutage(err) || errors.Is(err, context.Canceled) {
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
