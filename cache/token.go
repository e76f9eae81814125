package cache

import "context"

// tokenOf is the context key under which a lock's holder finds its token; the
// value is the name of the lock's Redis key.
type tokenOf string

// Token returns the token under which ctx holds the lock with that Redis key
// (see [redisbus.Keys.Lock]), or "" if it does not hold it.
func Token(ctx context.Context, lockKey string) string {
	token, _ := ctx.Value(tokenOf(lockKey)).(string)
	return token
}
