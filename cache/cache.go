package cache

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
)

// MaxKey is the length of the longest key, in bytes. Keys are any bytes.
const MaxKey = 1024

// Config says which cache a [Cache] is.
type Config struct {
	// Client is the way to Redis.
	Client redis.UniversalClient

	// Keys are the names of the namespace.
	Keys redisbus.Keys

	// Holder is on whose behalf locks are held: a node's incarnation, so that
	// [ReleaseAll] can free them when it is gone. Default: a random name.
	Holder string

	// Log receives what nobody is there to be told. Default: nothing is logged.
	Log zerolog.Logger
}

// Cache is one node's view of the cluster's cache. It is safe for concurrent use
// and holds nothing to close.
type Cache struct {
	client redis.UniversalClient
	keys   redisbus.Keys
	holder string
	log    zerolog.Logger

	// Versions are writer and a count, so that no two writes have the same.
	writer [6]byte
	writes atomic.Uint64
}

// New returns the cache of a namespace. Nothing is sent to Redis yet.
func New(cfg Config) *Cache {
	c := &Cache{client: cfg.Client, keys: cfg.Keys, holder: cfg.Holder, log: cfg.Log}
	_, _ = rand.Read(c.writer[:])
	if c.holder == "" {
		c.holder = "anonymous-" + rand.Text()
	}
	return c
}

// version returns 16 bytes that no other write of any node has.
func (c *Cache) version() string {
	var b [14]byte
	copy(b[:6], c.writer[:])
	binary.BigEndian.PutUint64(b[6:], c.writes.Add(1)<<16)
	return base64.RawURLEncoding.EncodeToString(b[:12])
}

// run executes a script on the keys of one cache key.
func (c *Cache) run(ctx context.Context, s *redisbus.Script, keys []string, args ...any) *redis.Cmd {
	return s.Run(ctx, c.client, keys, args...)
}

// check returns an error for a key that cannot be one.
func check(op, key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("cache: %s: %w: a key of %d bytes: use 1 to %d", op, ErrInvalid, len(key), MaxKey)
	}
	return nil
}
