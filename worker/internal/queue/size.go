package queue

import (
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Bounds of one transaction, its result included. Redis would read ten times as much.
const (
	MaxTransaction = 64 << 20 // bytes
	MaxEffects     = 50_000
)

// leastUnsent is the size in bytes from which on a commit that breaks off again and again may be
// too large. The smallest proto-max-bulk-len and client-query-buffer-limit that Redis can be
// set to are 1 MiB; a proxy may take less. Where a smaller commit breaks off, the connection is bad.
const leastUnsent = 256 << 10

// ErrTooLarge is wrapped by the errors for data that exceeds a bound of this package or of
// Redis.
var ErrTooLarge = errors.New("too large")

// UnsentError is the error of a request that Redis does not take, although it takes smaller
// requests. It is an [ErrTooLarge].
type UnsentError struct {
	Bytes int
	Cause error // of the last try
}

// Error implements error.
func (e *UnsentError) Error() string {
	return fmt.Sprintf("redis broke off a request of %d bytes %d times and took smaller ones in between: it is larger than redis "+
		"(proto-max-bulk-len, client-query-buffer-limit) or a proxy accepts, or takes longer than the timeout: %v",
		e.Bytes, link.FewTries, e.Cause)
}

// Unwrap returns [ErrTooLarge], and not the cause, which says that the request may be repeated.
func (e *UnsentError) Unwrap() error { return ErrTooLarge }

// RedisError implements redis.Error: Redis has answered the smaller requests.
func (e *UnsentError) RedisError() {}

// brokenOff reports whether the size of a request that ended with err may be the reason.
func brokenOff(err error) bool {
	return link.OutcomeOf(err) == link.Unknown || link.CauseOf(err) == link.CauseSize
}

// sizeOf returns about how many bytes the arguments of a script have on the wire.
func sizeOf(args []any) int {
	const each = 16 // framing, and numbers
	n := each*len(args) + link.TextSize(args)
	for _, a := range args {
		if m, is := a.(unsealed); is {
			const head = 512 // names, numbers, proof
			n += len(m.Body) + head
		}
	}
	return n
}

// Size returns about how many bytes the outcomes of the run, and of those that end with it, have
// in a commit.
func (r *Run) Size() int {
	n := len(r.ID)
	for _, other := range r.with {
		n += other.Size()
	}
	if r.weight() > 0 {
		n += sizeOf(r.outcome.args)
		for _, e := range r.outcome.effects {
			n += e.size()
		}
	}
	return n
}
