package cache

import (
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Errors of operations. When Redis cannot be reached, the error is [link.ErrUnavailable] or
// [link.ErrUnknownOutcome] instead.
var (
	// ErrNotFound: there is no such entry.
	ErrNotFound = errors.New("not found")
	// ErrExpired: the entry's lifetime is over, and Redis has not removed it yet, or
	// keeps it to be served stale. It is also an [ErrNotFound].
	ErrExpired = fmt.Errorf("%w: expired", ErrNotFound)
	// ErrLocked: another acquisition holds the entry's lock.
	ErrLocked = errors.New("locked")
	// ErrLockLost: the lock is not held any more, or the write was made with the
	// context of such a lock.
	ErrLockLost = errors.New("lock lost")
	// ErrWrongType: the key is a list and was used as a value, or the reverse.
	ErrWrongType = errors.New("wrong type: values and lists are different kinds of keys")
	// ErrNotNumber: the entry's value is not a whole number of 64 bits.
	ErrNotNumber = errors.New("not a whole number of 64 bits")
	// ErrOverflow: the sum would not fit into 64 bits.
	ErrOverflow = errors.New("overflow: the sum does not fit into 64 bits")
	// ErrConflict: the entry does not have the version that the write requires.
	ErrConflict = errors.New("conflict: another version")
	// ErrMalformed: the key holds bytes that no version of this package wrote.
	ErrMalformed = errors.New("malformed entry")
	// ErrClosed: [Cache.Close] ended the wait for a lock, an item or a value, or came
	// before the request.
	ErrClosed = errors.New("the cache is closed")
	// ErrInvalid: a key, value or option is out of its bounds.
	ErrInvalid = errors.New("invalid")
)

// errSuperseded: a computed value was not stored, because its key was destroyed
// meanwhile or because another caller computes the value now.
var errSuperseded = errors.New("superseded")

// refusals are the words of the scripts, among them the codes of cache_refuses in
// lua/effects.lua.
var refusals = map[string]error{
	"LOCKED": ErrLocked, "LOST": ErrLockLost, "WRONGTYPE": ErrWrongType,
	"NOTNUMBER": ErrNotNumber, "OVERFLOW": ErrOverflow,
	"CONFLICT": ErrConflict, "SUPERSEDED": errSuperseded, "EXPIRED": ErrExpired,
}

// Refusal returns the error for a code of cache_refuses (see [Cache.LuaEffects]), nil for
// any other text.
func Refusal(code string) error { return refusals[code] }

// kindOf returns this package's error, or that of [link.Explain], for the error of a
// script or command.
func kindOf(err error) error {
	if err == nil {
		return nil
	}
	if refusal := refusals[link.WordOf(err)]; refusal != nil {
		return refusal
	}
	if link.IsWrongType(err) {
		return ErrWrongType
	}
	return link.Explain(err)
}

// failed returns the error of an operation whose script or command ended with err.
func failed(op, key string, err error) error { return refused(op, key, kindOf(err)) }

// refused returns the error of an operation that ends with err, an error of this package.
func refused(op, key string, err error) error {
	return fmt.Errorf("cache: %s %q: %w", op, key, err)
}
