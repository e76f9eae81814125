package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Codes that built-in methods end with, for errors.Is, beside those of rpcregistry.
// Arguments that the cache or the tasks refuse are rpcregistry.BadArguments.
const (
	// ErrCacheNotFound: there is no such key, item, task or periodic task. It is
	// cache.ErrNotFound, of an empty list too, and tasks.ErrNotFound.
	ErrCacheNotFound rpcregistry.Code = "not_found"

	// ErrCacheLocked is cache.ErrLocked.
	ErrCacheLocked rpcregistry.Code = "locked"
	// ErrCacheLockLost is cache.ErrLockLost.
	ErrCacheLockLost rpcregistry.Code = "lock_lost"
	// ErrCacheConflict is cache.ErrConflict.
	ErrCacheConflict rpcregistry.Code = "conflict"
	// ErrCacheWrongType is cache.ErrWrongType, cache.ErrNotNumber or cache.ErrMalformed.
	ErrCacheWrongType rpcregistry.Code = "wrong_type"

	// ErrTaskQueueFull is tasks.ErrQueueFull.
	ErrTaskQueueFull rpcregistry.Code = "queue_full"
	// ErrTaskActive is tasks.ErrActive.
	ErrTaskActive rpcregistry.Code = "active"
	// ErrTaskState is tasks.ErrState.
	ErrTaskState rpcregistry.Code = "state"
	// ErrTaskDead is tasks.ErrDead: api.tasks.wait waited for a task that is dead.
	ErrTaskDead rpcregistry.Code = "dead"
	// ErrTaskCancelled is tasks.ErrCancelled: api.tasks.wait waited for a task that was cancelled.
	ErrTaskCancelled rpcregistry.Code = "cancelled"

	// ErrRedisFull is link.ErrFull, of methods of api.tasks.*: nothing was stored.
	ErrRedisFull rpcregistry.Code = "redis_full"
	// ErrRedisAway is link.ErrUnavailable, of methods of api.tasks.*: nothing was
	// done. Those of api.cache.* end with rpcregistry.Failed then.
	ErrRedisAway rpcregistry.Code = "redis_unavailable"
	// ErrRedisUnknown is link.ErrUnknownOutcome, of methods of api.tasks.*: it may
	// have been done or not. An enqueue with an id of the caller's can be repeated.
	ErrRedisUnknown rpcregistry.Code = "unknown_outcome"

	// ErrSetBusy: a rolling restart or a reload is under way.
	ErrSetBusy rpcregistry.Code = "set_busy"
	// ErrSetNotRunning: the set has not begun, or is stopping.
	ErrSetNotRunning rpcregistry.Code = "set_not_running"
	// ErrSetSize: a set cannot have so many nodes.
	ErrSetSize rpcregistry.Code = "set_size"
)

// coding says with which code an error crosses the wire.
type coding struct {
	err  error
	code rpcregistry.Code
}

var cacheCodes = []coding{
	{cache.ErrNotFound, ErrCacheNotFound},
	{cache.ErrLocked, ErrCacheLocked},
	{cache.ErrLockLost, ErrCacheLockLost},
	{cache.ErrConflict, ErrCacheConflict},
	{cache.ErrWrongType, ErrCacheWrongType},
	{cache.ErrNotNumber, ErrCacheWrongType},
	{cache.ErrMalformed, ErrCacheWrongType},
	{cache.ErrInvalid, rpcregistry.BadArguments},
	{cache.ErrOverflow, rpcregistry.BadArguments},
}

var taskCodes = []coding{
	{tasks.ErrNotFound, ErrCacheNotFound},
	{tasks.ErrQueueFull, ErrTaskQueueFull},
	{tasks.ErrActive, ErrTaskActive},
	{tasks.ErrState, ErrTaskState},
	{tasks.ErrDead, ErrTaskDead},
	{tasks.ErrCancelled, ErrTaskCancelled},
	{tasks.ErrName, rpcregistry.BadArguments},
	{tasks.ErrInvalid, rpcregistry.BadArguments},
	{tasks.ErrTooLarge, rpcregistry.TooLarge},
	{link.ErrFull, ErrRedisFull},
	{link.ErrUnknownOutcome, ErrRedisUnknown},
	{link.ErrUnavailable, ErrRedisAway},
}

// handleCache registers a method of api.cache.*.
func handleCache[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	rpcregistry.HandleStrict(r, "api.cache."+name, withCodes(cacheCodes, f))
}

// handleTask registers a method of api.tasks.*.
func handleTask[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	rpcregistry.HandleStrict(r, "api.tasks."+name, withCodes(taskCodes, f))
}

// withCodes makes the errors of f cross the wire with the code of the first coding
// that fits.
func withCodes[Req, Res any](codes []coding, f func(context.Context, Req) (Res, error)) func(context.Context, Req) (Res, error) {
	return func(ctx context.Context, in Req) (Res, error) {
		res, err := f(ctx, in)
		for _, known := range codes {
			if errors.Is(err, known.err) {
				return res, fmt.Errorf("%w: %w", known.code, err)
			}
		}
		return res, err
	}
}
