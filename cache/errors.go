package cache

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Errors of operations. An unreachable Redis is none of these: it is
// [link.ErrUnavailable] or [link.ErrUnknownOutcome].
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
	// ErrConflict: the entry is not of the version that the write was for.
	ErrConflict = errors.New("conflict: another version")
	// ErrMalformed: the key holds bytes that no version of this package wrote.
	ErrMalformed = errors.New("malformed entry")
	// ErrClosed: [Cache.Close] ended the wait for a lock, an item or a value.
	ErrClosed = errors.New("the cache is closed")
	// ErrInvalid: a key, value or option is out of its bounds.
	ErrInvalid = errors.New("invalid")
)

// errSuperseded: a computed value was not stored, because its key was destroyed
// meanwhile or another caller computes it by now.
var errSuperseded = errors.New("superseded")

// refusals are the words of the scripts, among them the codes of cache_refuses in
// lua/effects.lua.
var refusals = map[string]error{
	"LOCKED": ErrLocked, "LOST": ErrLockLost, "WRONGTYPE": ErrWrongType,
	"NOTNUMBER": ErrNotNumber, "OVERFLOW": ErrOverflow,
	"CONFLICT": ErrConflict, "SUPERSEDED": errSuperseded, "EXPIRED": ErrExpired,
}

// notMine is the word with which a script of lua/fast refuses a case that another
// script is for.
const notMine = "ELSE"

// Refusal returns the error that belongs to a code of cache_refuses, see
// [Cache.LuaEffects]; nil for any other text.
func Refusal(code string) error { return refusals[code] }

// kindOf turns the error of a script or command into this package's error or one
// of [link.Explain].
func kindOf(err error) error {
	if err == nil {
		return nil
	}
	if refusal := refusals[link.WordOf(err)]; refusal != nil {
		return refusal
	}
	if _, ok := errors.AsType[*link.WrongTypeError](err); ok || redis.HasErrorPrefix(err, "WRONGTYPE") {
		return ErrWrongType
	}
	return link.Explain(err)
}

// failed names the operation whose script or command ended with err.
func failed(op, key string, err error) error { return refused(op, key, kindOf(err)) }

// refused names the operation that ends with an error of this package.
func refused(op, key string, err error) error {
	return fmt.Errorf("cache: %s %q: %w", op, key, err)
}
