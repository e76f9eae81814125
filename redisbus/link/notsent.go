package link

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// ErrNotSent is the error of a command that was not sent because its caller's context was
// cancelled. The error wraps that of the context. It says nothing of Redis.
var ErrNotSent = errors.New("not sent")

// GaveUp returns the error of a request that was not sent before ctx ended: an [ErrNotSent]
// if ctx was cancelled; otherwise, after a deadline, an [ErrUnavailable] with the failure
// that kept the request back. failure may be nil.
func GaveUp(ctx context.Context, failure error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(ctx.Err(), context.Canceled):
		return &explained{kind: ErrNotSent, cause: endOf(ctx)}
	case failure == nil:
		return &explained{kind: ErrUnavailable, cause: cause}
	default:
		return &explained{kind: ErrUnavailable, cause: errors.Join(cause, failure)}
	}
}

// endOf returns the cause with which ctx has ended, so that the error of ctx is wrapped too.
func endOf(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, ctx.Err()) {
		return cause
	}
	return &explained{kind: ctx.Err(), cause: cause}
}

// Cancelled returns an [ErrNotSent] if ctx was cancelled, and otherwise nil.
func Cancelled(ctx context.Context) error {
	if err := ctx.Err(); err == nil || !errors.Is(err, context.Canceled) {
		return nil
	}
	return GaveUp(ctx, nil)
}

// cancelGate is a hook of a Redis client: a command whose caller has given up is not sent.
type cancelGate struct{}

// ProcessHook implements redis.Hook.
func (cancelGate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := Cancelled(ctx); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (cancelGate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := Cancelled(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}

// DialHook implements redis.Hook.
func (cancelGate) DialHook(next redis.DialHook) redis.DialHook { return next }
