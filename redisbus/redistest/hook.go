package redistest

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Hook is a hook of a client that loses what a test wants: while Cut, no command reaches Redis; the replies
// to the next Lose commands are lost. Sent counts those that reach it. Pipelines are left alone.
type Hook struct {
	Cut        atomic.Bool
	Lose, Sent atomic.Int64
}

// DialHook implements redis.Hook.
func (h *Hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (h *Hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h *Hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.Cut.Load() {
			cmd.SetErr(link.DialError(errors.New("cut off")))
			return cmd.Err()
		}
		h.Sent.Add(1)
		err := next(ctx, cmd)
		if err == nil && h.Lose.Add(-1) >= 0 {
			cmd.SetErr(io.ErrUnexpectedEOF)
			return cmd.Err()
		}
		return err
	}
}
