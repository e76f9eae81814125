package link

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// poolPlaces is how many places a client's pool has for each request that may run: a dial
// whose caller gave up keeps its place until it ends.
const poolPlaces = 2

// turns is a hook of a Redis client that lets as many requests run at once as there are
// sockets for. The others wait here and not in the client's pool, which has [poolPlaces] as
// many places. The pool waits with timers that all clients of the process share, and one that
// was made on virtual time (testing/synctest) ends the process wherever else it is used.
type turns struct{ taken chan struct{} }

func newTurns(sockets int) turns { return turns{make(chan struct{}, sockets)} }

// take waits for a turn: for as long as the pool would, and not after ctx has ended.
func (t turns) take(ctx context.Context) error {
	select {
	case t.taken <- struct{}{}:
		return nil
	default:
	}
	patience := time.NewTimer(poolTimeout)
	defer patience.Stop()
	select {
	case t.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return GaveUp(ctx, nil)
	case <-patience.C:
		return redis.ErrPoolTimeout
	}
}

func (t turns) end() { <-t.taken }

// isHandshake reports whether the client itself sends the command on a new connection. The
// request that needs the connection has the turn.
func isHandshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "client", "select":
		return true
	}
	return false
}

// ProcessHook implements redis.Hook.
func (t turns) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if isHandshake(cmd) {
			return next(ctx, cmd)
		}
		if err := t.take(ctx); err != nil {
			cmd.SetErr(err)
			return err
		}
		defer t.end()
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (t turns) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 || isHandshake(cmds[0]) {
			return next(ctx, cmds)
		}
		if err := t.take(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		defer t.end()
		return next(ctx, cmds)
	}
}

// DialHook implements redis.Hook.
func (turns) DialHook(next redis.DialHook) redis.DialHook { return next }
