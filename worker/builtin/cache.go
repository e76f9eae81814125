package builtin

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

// Arguments of api.cache.*.
type (
	cacheKey struct {
		Key string `json:"key"`
	}
	cacheLoad struct {
		Key    string        `json:"key"`
		Extend time.Duration `json:"extend,omitempty"` // the entry lives at least that long from now
	}
	cacheSave struct {
		Key       string          `json:"key"`
		Value     json.RawMessage `json:"value"`
		TTL       time.Duration   `json:"ttl,omitempty"` // 0 for none
		IfAbsent  bool            `json:"ifAbsent,omitempty"`
		IfVersion string          `json:"ifVersion,omitempty"`
		Fence     int64           `json:"fence,omitempty"` // of the lock that the caller holds
	}
	cacheDestroy struct {
		Key   string `json:"key"`
		Fence int64  `json:"fence,omitempty"`
	}
	cacheIncrement struct {
		Key   string        `json:"key"`
		Delta int64         `json:"delta"`
		TTL   time.Duration `json:"ttl,omitempty"` // of a new counter
	}
	cachePush struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
		Max   int             `json:"max,omitempty"` // longer lists lose their oldest items
		TTL   time.Duration   `json:"ttl,omitempty"`
	}
	cachePop struct {
		Key  string        `json:"key"`
		Wait time.Duration `json:"wait,omitempty"`
	}
	cacheMatch struct {
		Match string `json:"match"` // a glob pattern
	}
)

// CacheEntry is the response of api.cache.entry; api.cache.load returns only the value.
// Times are on Redis's clock; one that is not there is never.
type CacheEntry struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	CreatedAt time.Time       `json:"createdAt,omitzero"`
	ReadAt    time.Time       `json:"readAt,omitzero"` // before this load
	ExpiresAt time.Time       `json:"expiresAt,omitzero"`
	Version   string          `json:"version"` // for ifVersion
}

func registerValues(r rpcregistry.Registrar, c *cache.Cache, locks *callerLocks) {
	loads := rpcregistry.ByPosition(r, optionsAsExtend)
	handleCache(loads, "load", func(ctx context.Context, in cacheLoad) (json.RawMessage, error) {
		e, err := load(ctx, c, in)
		return e.Value, err
	})
	handleCache(loads, "entry", func(ctx context.Context, in cacheLoad) (CacheEntry, error) { return load(ctx, c, in) })
	handleCache(r, "save", func(ctx context.Context, in cacheSave) (bool, error) {
		_, err := c.SaveWith(ctx, in.Key, in.Value, cache.SaveOptions{
			TTL: in.TTL, IfAbsent: in.IfAbsent, IfVersion: in.IfVersion, Fence: in.Fence,
		})
		return err == nil, err
	})
	handleCache(r, "destroy", func(ctx context.Context, in cacheDestroy) (bool, error) {
		if in.Fence == 0 {
			return c.Destroy(ctx, in.Key)
		}
		return locks.destroy(ctx, in.Key, in.Fence)
	})
	handleCache(r, "increment", func(ctx context.Context, in cacheIncrement) (int64, error) {
		return c.IncrementFor(ctx, in.Key, in.Delta, in.TTL)
	})
	handleCache(r, "keys", func(ctx context.Context, in cacheMatch) ([]string, error) { return keys(ctx, c, in.Match) })
	handleCache(r, "size", func(ctx context.Context, in cacheMatch) (int, error) { return c.Size(ctx, orAll(in.Match)) })
	handleCache(r, "clear", func(ctx context.Context, in cacheMatch) (int, error) {
		if in.Match == "" { // a pattern left out by mistake must not destroy everything
			return 0, fmt.Errorf(`%w: say which keys: ["*"] for all`, rpcregistry.ErrBadArguments)
		}
		return c.Clear(ctx, in.Match)
	})
}

func registerLists(r rpcregistry.Registrar, c *cache.Cache) {
	handleCache(r, "push", func(ctx context.Context, in cachePush) (int64, error) {
		return c.PushWith(ctx, in.Key, cache.ListOptions{Max: in.Max, TTL: in.TTL}, in.Value)
	})
	handleCache(r, "pop", func(ctx context.Context, in cachePop) (json.RawMessage, error) {
		return c.PopWait(ctx, in.Key, in.Wait)
	})
	handleCache(r, "listLength", func(ctx context.Context, in cacheKey) (int64, error) { return c.Len(ctx, in.Key) })
}

func load(ctx context.Context, c *cache.Cache, in cacheLoad) (CacheEntry, error) {
	var e cache.Entry
	var err error
	if in.Extend == 0 {
		e, err = c.Load(ctx, in.Key) // unlike LoadWith, it can serve the entry from memory (cache.Near)
	} else {
		e, err = c.LoadWith(ctx, in.Key, cache.LoadOptions{Extend: in.Extend})
	}
	return CacheEntry{
		Key: e.Key, Value: e.Value, Version: e.Version,
		CreatedAt: e.Created.UTC(), ReadAt: e.Read.UTC(), ExpiresAt: e.Expires.UTC(),
	}, err
}

// keys returns the sorted keys that match a glob pattern. The error is an ErrTooLarge if
// they do not fit into a response.
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
