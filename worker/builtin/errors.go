package builtin

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Codes of the errors of built-in methods, for errors.Is, beside those of rpcregistry.
// Arguments that the cache or the tasks refuse are rpcregistry.ErrBadArguments.
const (
	// ErrNotFound: there is no such key, item, task or periodic task, or the list is empty.
	// It stands for cache.ErrNotFound and tasks.ErrNotFound.
	ErrNotFound rpcregistry.Code = "not_found"

	// ErrLocked is cache.ErrLocked.
	ErrLocked rpcregistry.Code = "locked"
	// ErrLockLost is cache.ErrLockLost.
	ErrLockLost rpcregistry.Code = "lock_lost"
	// ErrConflict is cache.ErrConflict.
	ErrConflict rpcregistry.Code = "conflict"
	// ErrWrongType is cache.ErrWrongType, cache.ErrNotNumber or cache.ErrMalformed.
	ErrWrongType rpcregistry.Code = "wrong_type"

	// ErrQueueFull is tasks.ErrQueueFull.
	ErrQueueFull rpcregistry.Code = "queue_full"
	// ErrActive is tasks.ErrActive.
	ErrActive rpcregistry.Code = "active"
	// ErrState is tasks.ErrState.
	ErrState rpcregistry.Code = "state"
	// ErrRegistered is tasks.ErrRegistered: a program's own definition of a periodic task counts.
	ErrRegistered rpcregistry.Code = "registered"
	// ErrDead is tasks.ErrDead: api.tasks.wait waited for a task that is dead.
	ErrDead rpcregistry.Code = "dead"
	// ErrCancelled is tasks.ErrCancelled: api.tasks.wait waited for a task that was cancelled.
	ErrCancelled rpcregistry.Code = "cancelled"

	// ErrRedisFull is link.ErrFull in methods api.tasks.*: nothing was stored.
	ErrRedisFull rpcregistry.Code = "redis_full"
	// ErrRedisUnavailable is link.ErrUnavailable in methods api.tasks.* and api.bus.*: nothing
	// was done. Methods api.cache.* end with rpcregistry.ErrFailed instead.
	ErrRedisUnavailable rpcregistry.Code = "redis_unavailable"
	// ErrUnknownOutcome is link.ErrUnknownOutcome in methods api.tasks.* and api.bus.*: the request may
	// have been carried out or not. An enqueue with an id of the caller can be repeated.
	ErrUnknownOutcome rpcregistry.Code = "unknown_outcome"

	// ErrSetBusy: a rolling restart or a reload is under way.
	ErrSetBusy rpcregistry.Code = "set_busy"
	// ErrSetNotRunning: the set has not started, or is stopping.
	ErrSetNotRunning rpcregistry.Code = "set_not_running"
	// ErrSetSize: a set cannot have so many nodes.
	ErrSetSize rpcregistry.Code = "set_size"
	// ErrSetAlone: the operation is one of a guardian, and the process has none.
	ErrSetAlone rpcregistry.Code = "set_alone"
)

// coding pairs an error with the code that the caller gets for it.
type coding struct {
	err  error
	code rpcregistry.Code
}

var cacheCodes = []coding{
	{cache.ErrNotFound, ErrNotFound},
	{cache.ErrLocked, ErrLocked},
	{cache.ErrLockLost, ErrLockLost},
	{cache.ErrConflict, ErrConflict},
	{cache.ErrWrongType, ErrWrongType},
	{cache.ErrNotNumber, ErrWrongType},
	{cache.ErrMalformed, ErrWrongType},
	{cache.ErrInvalid, rpcregistry.ErrBadArguments},
	{cache.ErrOverflow, rpcregistry.ErrBadArguments},
}

var taskCodes = []coding{
	{tasks.ErrNotFound, ErrNotFound},
	{tasks.ErrQueueFull, ErrQueueFull},
	{tasks.ErrActive, ErrActive},
	{tasks.ErrState, ErrState},
	{tasks.ErrRegistered, ErrRegistered},
	{tasks.ErrDead, ErrDead},
	{tasks.ErrCancelled, ErrCancelled},
	{tasks.ErrName, rpcregistry.ErrBadArguments},
	{tasks.ErrInvalid, rpcregistry.ErrBadArguments},
	{tasks.ErrTooLarge, rpcregistry.ErrTooLarge},
	{link.ErrFull, ErrRedisFull},
	{link.ErrUnknownOutcome, ErrUnknownOutcome},
	{link.ErrUnavailable, ErrRedisUnavailable},
}

var busCodes = []coding{
	{redisbus.ErrTooLarge, rpcregistry.ErrTooLarge},
	{redisbus.ErrCongested, rpcregistry.ErrBusy},
	{link.ErrUnknownOutcome, ErrUnknownOutcome},
	{link.ErrUnavailable, ErrRedisUnavailable},
}

// handleCache registers a method of api.cache.*.
func handleCache[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	handle(r, "api.cache."+name, withCodes(cacheCodes, f))
}

// handleTask registers a method of api.tasks.*.
func handleTask[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	handle(r, "api.tasks."+name, withCodes(taskCodes, f))
}

// withCodes returns f with its errors wrapped in the code of the first coding that fits.
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
