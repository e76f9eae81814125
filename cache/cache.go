package cache

import (
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

// Config configures a [Cache].
type Config struct {
	// Client runs the commands.
	Client *redis.Client

	// Batcher, when set, runs the scripts in the place of Client. The caches of a process
	// share one, so that their callers share round trips. Default: the cache's own.
	Batcher *Batcher

	// Keys builds the names of the namespace's keys.
	Keys link.Keys

	// Holder names the owner of the locks: a node's incarnation, so that
	// [Cache.ReleaseAll] can free them when the incarnation is gone. Under a compatibility preset
	// the original's nodes see what comes before the first "#". Default: a
	// random name.
	Holder string

	// Preset says which other programs share the cache. Default, also for a name
	// that [ParsePreset] refuses: [Native].
	Preset Preset

	// CachePrefix and LockPrefix are, under a compatibility preset, the key prefixes with
	// which the other programs are configured. Default: the defaults of those programs.
	CachePrefix, LockPrefix string

	// Near keeps entries in the process's memory; see [Near].
	Near Near

	// Log gets failures that no caller can be given as an error, such as those of Serve.
	// Default: nothing is logged.
	Log zerolog.Logger

	// Reports logs failures of Redis that are waited out. Default: the cache's own, to Log.
	Reports *link.Reports

	// Observer, when set, is notified of ended operations.
	Observer Observer

	// Dropped, when set, is told of each message that was dropped because of its size (see
	// [redisbus.Announcements]).
	Dropped func(redisbus.Drop)
}

// Cache is one node's view of the cluster's cache. It is safe for concurrent use.
type Cache struct {
	client        *conn
	names         names
	preset        Preset
	scripts       *scripts
	holder        string
	index, clock  string // Redis keys: the set of all locks that the holder has, and the clock of fences
	log           zerolog.Logger
	reports       *link.Reports
	announcements *redisbus.Announcements
	near          *near
	dropped       func(redisbus.Drop) // nil: nobody is told

	observer Observer // nil: none

	// Versions and tokens consist of writer, which is random, and a count, so that no two
	// are the same.
	writer [6]byte
	writes atomic.Uint64
}

// New returns the cache of a namespace. Nothing is sent to Redis yet.
func New(cfg Config) *Cache {
	cfg.Preset, _ = ParsePreset(string(cfg.Preset))
	if cfg.Batcher == nil {
		cfg.Batcher = NewBatcher(cfg.Client)
	}
	if cfg.Reports == nil {
		cfg.Reports = link.NewReports(cfg.Log)
	}
	c := &Cache{
		client: &conn{Client: cfg.Client, batcher: cfg.Batcher}, names: newNames(cfg), preset: cfg.Preset,
		scripts: layouts[cfg.Preset], holder: cfg.Holder, log: cfg.Log, reports: cfg.Reports, observer: cfg.Observer, dropped: cfg.Dropped,
	}
	c.announcements = redisbus.NewAnnouncements(cfg.Client)
	c.announcements.Reports, c.announcements.Dropped = cfg.Reports, cfg.Dropped
	c.near = newNear(cfg.Near)
	_, _ = rand.Read(c.writer[:])
	if c.holder == "" {
		c.holder = "anonymous-" + rand.Text()
	}
	c.index, c.clock = cfg.Keys.LocksOf(c.holder), cfg.Keys.Clock()
	return c
}

// Close ends the waits of callers, and later requests, with [ErrClosed], and closes the
// connection on which callers hear of what they wait for. Locks that are held end at their
// TTL.
func (c *Cache) Close() {
	c.client.closed.Store(true)
	c.announcements.Close()
}

// EntryKey returns the Redis key of an entry or list, for scripts with [Cache.LuaEffects].
func (c *Cache) EntryKey(key string) string { return c.names.entry(key) }

// LockKey returns the Redis key of an entry's lock.
func (c *Cache) LockKey(key string) string { return c.names.lock(key) }

// unique returns 16 characters that no other call returns, on any node.
func (c *Cache) unique() string {
	var b [14]byte
	binary.BigEndian.PutUint64(b[6:], c.writes.Add(1)<<16) // the count has 48 bits; the last two bytes are not used
	copy(b[:6], c.writer[:])
	var text [16]byte
	base64.RawURLEncoding.Encode(text[:], b[:12])
	return string(text[:])
}

// check returns an [ErrInvalid] for a key that is empty or too long.
func check(op, key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("cache: %s: %w: a key of %d bytes: use 1 to %d", op, ErrInvalid, len(key), MaxKey)
	}
	return nil
}
