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
	"github.com/stellarfw/stellar/redisbus/link"
)

// MaxKey is the length of the longest key, in bytes. Keys are any bytes.
const MaxKey = 1024

// Config says which cache a [Cache] is.
type Config struct {
	// Client is the way to Redis.
	Client redis.UniversalClient

	// Keys are the names of the namespace.
	Keys link.Keys

	// Holder is on whose behalf locks are held: a node's incarnation, so that
	// [ReleaseAll] can free them when it is gone. Under a compatibility preset
	// the original's nodes see what comes before the first "#". Default: a
	// random name.
	Holder string

	// Preset says with whose nodes the cache is shared. Default, also for a name
	// that [ParsePreset] refuses: [Native].
	Preset Preset

	// CachePrefix and LockPrefix are those of the other nodes' configuration,
	// under a compatibility preset. Default: what they ship with.
	CachePrefix, LockPrefix string

	// Near keeps entries in the process's memory; see [Near].
	Near Near

	// Log receives what nobody is there to be told. Default: nothing is logged.
	Log zerolog.Logger
}

// Cache is one node's view of the cluster's cache. It is safe for concurrent use
// and holds nothing to close.
type Cache struct {
	client  *batcher
	names   names
	preset  Preset
	scripts *scripts
	holder  string
	log     zerolog.Logger
	wakes   *redisbus.Announcements
	near    *near

	// Versions and tokens are writer and a count, so that no two are the same.
	writer [6]byte
	writes atomic.Uint64
}

// New returns the cache of a namespace. Nothing is sent to Redis yet.
func New(cfg Config) *Cache {
	cfg.Preset, _ = ParsePreset(string(cfg.Preset))
	c := &Cache{
		client: newBatcher(cfg.Client), names: newNames(cfg), preset: cfg.Preset,
		scripts: layouts[cfg.Preset == Native], holder: cfg.Holder, log: cfg.Log,
	}
	c.wakes = redisbus.NewAnnouncements(cfg.Client, cfg.Log)
	c.near = newNear(cfg)
	_, _ = rand.Read(c.writer[:])
	if c.holder == "" {
		c.holder = "anonymous-" + rand.Text()
	}
	return c
}

// EntryKey is the Redis key of an entry or list, for scripts with [LuaEffectsOf].
func (c *Cache) EntryKey(key string) string { return c.names.entry(key) }

// LockKey is the Redis key of an entry's lock.
func (c *Cache) LockKey(key string) string { return c.names.lock(key) }

// LuaEffects is [LuaEffectsOf] this cache's preset.
func (c *Cache) LuaEffects() string { return LuaEffectsOf(c.preset) }

// unique returns 16 characters that nobody else on any node gets.
func (c *Cache) unique() string {
	var b [14]byte
	binary.BigEndian.PutUint64(b[6:], c.writes.Add(1)<<16) // 48 bits, then two bytes to spare
	copy(b[:6], c.writer[:])
	var text [16]byte
	base64.RawURLEncoding.Encode(text[:], b[:12])
	return string(text[:])
}

// check returns an error for a key that cannot be one.
func check(op, key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("cache: %s: %w: a key of %d bytes: use 1 to %d", op, ErrInvalid, len(key), MaxKey)
	}
	return nil
}

// node returns the client of the one server that holds the cache: all of a
// namespace's keys share a hash tag, and SCAN sees one server only.
func (c *Cache) node(ctx context.Context) (redis.UniversalClient, error) {
	if cluster, ok := c.client.UniversalClient.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, c.names.cachePrefix)
	}
	return c.client.UniversalClient, nil
}
