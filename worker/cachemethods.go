package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
)

// What calls of api.cache.* end with, beside the codes of rpcregistry. Arguments
// that the cache refuses are rpcregistry.ErrBadArguments; a Redis that cannot be
// reached is rpcregistry.ErrFailed, never ErrCacheNotFound.
const (
	// ErrCacheNotFound is cache.ErrNotFound, of an empty list too.
	ErrCacheNotFound rpcregistry.Code = "not_found"
	// ErrCacheLocked is cache.ErrLocked.
	ErrCacheLocked rpcregistry.Code = "locked"
	// ErrCacheLockLost is cache.ErrLockLost.
	ErrCacheLockLost rpcregistry.Code = "lock_lost"
	// ErrCacheConflict is cache.ErrConflict.
	ErrCacheConflict rpcregistry.Code = "conflict"
	// ErrCacheWrongType is cache.ErrWrongType, cache.ErrNotNumber or cache.ErrMalformed.
	ErrCacheWrongType rpcregistry.Code = "wrong_type"
)

var cacheCodes = []coded{
	{cache.ErrNotFound, ErrCacheNotFound},
	{cache.ErrLocked, ErrCacheLocked},
	{cache.ErrLockLost, ErrCacheLockLost},
	{cache.ErrConflict, ErrCacheConflict},
	{cache.ErrWrongType, ErrCacheWrongType},
	{cache.ErrNotNumber, ErrCacheWrongType},
	{cache.ErrMalformed, ErrCacheWrongType},
	{cache.ErrInvalid, rpcregistry.ErrBadArguments},
	{cache.ErrOverflow, rpcregistry.ErrBadArguments},
}

// Arguments of api.cache.*, by name or by position in this order; other names are
// refused. Durations are in milliseconds.
type (
	cacheKey struct {
		Key string `json:"key"`
	}
	cacheLoad struct {
		Key    string `json:"key"`
		Extend int64  `json:"extend,omitempty"` // it lives for at least that long from now
	}
	cacheSave struct {
		Key       string          `json:"key"`
		Value     json.RawMessage `json:"value"`
		TTL       int64           `json:"ttl,omitempty"` // 0 for none
		IfAbsent  bool            `json:"ifAbsent,omitempty"`
		IfVersion string          `json:"ifVersion,omitempty"`
		Fence     int64           `json:"fence,omitempty"` // of the lock that the caller took
	}
	cacheDestroy struct {
		Key   string `json:"key"`
		Fence int64  `json:"fence,omitempty"`
	}
	cacheIncrement struct {
		Key   string `json:"key"`
		Delta int64  `json:"delta"`
		TTL   int64  `json:"ttl,omitempty"` // of a new counter
	}
	cachePush struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
		Max   int             `json:"max,omitempty"` // the oldest items beyond go
		TTL   int64           `json:"ttl,omitempty"`
	}
	cachePop struct {
		Key  string `json:"key"`
		Wait int64  `json:"wait,omitempty"`
	}
	cacheMatch struct {
		Match string `json:"match"` // a glob pattern
	}
)

// CacheEntry is what api.cache.entry answers; api.cache.load answers its value
// alone. Times are milliseconds on Redis's clock, 0 for never.
type CacheEntry struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	CreatedAt int64           `json:"createdAt"`
	ReadAt    int64           `json:"readAt"` // before this load
	ExpiresAt int64           `json:"expiresAt"`
	Version   string          `json:"version"` // for ifVersion
}

// registerCache adds the cache's operations for callers on other nodes and for
// commands. locks are those that were taken by call.
func registerCache(r rpcregistry.Registrar, c *cache.Cache, locks *calledLocks) {
	registerValues(r, c, locks)
	registerLists(r, c)
	registerLocks(r, c, locks)
}

func registerValues(r rpcregistry.Registrar, c *cache.Cache, locks *calledLocks) {
	handleCache(r, "load", func(ctx context.Context, in cacheLoad) (json.RawMessage, error) {
		e, err := load(ctx, c, in)
		return e.Value, err
	})
	handleCache(r, "entry", func(ctx context.Context, in cacheLoad) (CacheEntry, error) { return load(ctx, c, in) })
	handleCache(r, "save", func(ctx context.Context, in cacheSave) (bool, error) {
		ttl, err := milliseconds(in.TTL)
		if err == nil {
			_, err = c.SaveWith(ctx, in.Key, in.Value, cache.SaveOptions{
				TTL: ttl, IfAbsent: in.IfAbsent, IfVersion: in.IfVersion, Fence: in.Fence,
			})
		}
		return err == nil, err
	})
	handleCache(r, "destroy", func(ctx context.Context, in cacheDestroy) (bool, error) {
		if in.Fence == 0 {
			return c.Destroy(ctx, in.Key)
		}
		return locks.destroy(ctx, in.Key, in.Fence)
	})
	handleCache(r, "increment", func(ctx context.Context, in cacheIncrement) (int64, error) {
		ttl, err := milliseconds(in.TTL)
		if err != nil {
			return 0, err
		}
		return c.IncrementFor(ctx, in.Key, in.Delta, ttl)
	})
	handleCache(r, "keys", func(ctx context.Context, in cacheMatch) ([]string, error) { return keys(ctx, c, in.Match) })
	handleCache(r, "size", func(ctx context.Context, in cacheMatch) (int, error) { return c.Size(ctx, orAll(in.Match)) })
	handleCache(r, "clear", func(ctx context.Context, in cacheMatch) (int, error) {
		if in.Match == "" { // what was left out by mistake must not cost everything
			return 0, fmt.Errorf("%w: say which keys: \"*\" for all", rpcregistry.ErrBadArguments)
		}
		return c.Clear(ctx, in.Match)
	})
}

func registerLists(r rpcregistry.Registrar, c *cache.Cache) {
	handleCache(r, "push", func(ctx context.Context, in cachePush) (int64, error) {
		ttl, err := milliseconds(in.TTL)
		if err != nil {
			return 0, err
		}
		return c.PushWith(ctx, in.Key, cache.ListOptions{Max: in.Max, TTL: ttl}, in.Value)
	})
	handleCache(r, "pop", func(ctx context.Context, in cachePop) (json.RawMessage, error) {
		wait, err := milliseconds(in.Wait)
		if err != nil {
			return nil, err
		}
		return c.PopWait(ctx, in.Key, wait)
	})
	handleCache(r, "listLength", func(ctx context.Context, in cacheKey) (int64, error) { return c.Len(ctx, in.Key) })
}

// handleCache registers a method of the cache. Its errors cross the wire with a code.
func handleCache[Req, Res any](r rpcregistry.Registrar, name string, f func(context.Context, Req) (Res, error)) {
	rpcregistry.HandleStrict(r, "api.cache."+name, withCodes(cacheCodes, f))
}

func load(ctx context.Context, c *cache.Cache, in cacheLoad) (CacheEntry, error) {
	extend, err := milliseconds(in.Extend)
	if err != nil {
		return CacheEntry{}, err
	}
	var e cache.Entry
	if extend == 0 {
		e, err = c.Load(ctx, in.Key) // from memory where that may be
	} else {
		e, err = c.LoadWith(ctx, in.Key, cache.LoadOptions{Extend: extend})
	}
	return CacheEntry{
		Key: e.Key, Value: e.Value, Version: e.Version,
		CreatedAt: unixMilli(e.Created), ReadAt: unixMilli(e.Read), ExpiresAt: unixMilli(e.Expires),
	}, err
}

// keys returns the keys in their order. More of them than fit into an answer
// are an error.
func keys(ctx context.Context, c *cache.Cache, match string) ([]string, error) {
	all, size := []string{}, 0
	for key, err := range c.Keys(ctx, orAll(match)) {
		if err != nil {
			return nil, err
		}
		if size += len(key) + len(`"",`); size > redisbus.MaxMessage {
			return nil, fmt.Errorf("%w: more keys than fit into an answer: use a narrower pattern", rpcregistry.ErrTooLarge)
		}
		all = append(all, key)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func orAll(match string) string {
	if match == "" {
		return "*"
	}
	return match
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
