package cache

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Near says which entries a cache also keeps in the process's own memory. Redis
// announces every change of these entries (client-side caching in broadcast mode);
// until then loads are served from memory. It works while [Cache.Serve] runs, on
// servers that support it; otherwise loads go to Redis, with the same results.
//
// A served entry may be out of date for as long as an announcement takes, normally less
// than a millisecond, or for up to [Near.MaxStale] when the connection died unnoticed. A
// cache sees its own writes at once. Loads of near entries are not recorded in
// [Entry.Read]. Callers share the entries and must not change them.
//
// Give all nodes the same prefixes: a node that does not keep an entry in memory records
// its loads, and each record is a change that removes the entry from the memory of all
// others.
type Near struct {
	// Prefixes of the keys to keep. Empty: none.
	Prefixes []string
	// MaxEntries bounds how many entries are kept; a random entry makes room for a
	// new one. Default 10000.
	MaxEntries int
	// MaxStale is for how long entries are served after the connection has died
	// unnoticed. Default 3 s.
	MaxStale time.Duration
}

const shards = 64

// near holds the entries in memory, in shards with a lock each.
type near struct {
	cfg    Near
	on     atomic.Bool // the connection with the announcements works
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	sync.RWMutex
	entries map[string]*nearEntry
}

// nearEntry is an entry in memory or, while loaded is false, the mark of a load that has
// begun. An announcement removes the mark, so that an entry that was loaded before the
// change is not kept after it.
type nearEntry struct {
	loaded bool
	entry  Entry
	until  time.Time // when the entry expires, on the host's clock; zero: never
}

func newNear(o Near) *near {
	if len(o.Prefixes) == 0 {
		return nil
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = 10_000
	}
	if o.MaxStale <= 0 {
		o.MaxStale = 3 * time.Second
	}
	var prefixes []string // without those that begin with another prefix: Redis refuses overlaps
	for _, p := range slices.Sorted(slices.Values(o.Prefixes)) {
		if len(prefixes) == 0 || !strings.HasPrefix(p, prefixes[len(prefixes)-1]) {
			prefixes = append(prefixes, p)
		}
	}
	o.Prefixes = prefixes
	n := &near{cfg: o, seed: maphash.MakeSeed()}
	n.flush()
	return n
}

// covers reports whether a key is to be served from memory now.
func (n *near) covers(key string) bool {
	if n == nil || !n.on.Load() {
		return false
	}
	return slices.ContainsFunc(n.cfg.Prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

func (n *near) shard(name string) *shard {
	return &n.shards[maphash.String(n.seed, name)%shards]
}

// get returns the entry in memory.
func (n *near) get(name string) (Entry, bool) {
	s := n.shard(name)
	s.RLock()
	e := s.entries[name]
	s.RUnlock()
	if e == nil || !e.loaded || (!e.until.IsZero() && !time.Now().Before(e.until)) {
		return Entry{}, false
	}
	return e.entry, true
}

// begin returns the mark of a load that begins.
func (n *near) begin(name string) *nearEntry {
	s := n.shard(name)
	s.Lock()
	defer s.Unlock()
	e := s.entries[name]
	if e == nil || e.loaded {
		for other := range s.entries {
			if len(s.entries) < max(n.cfg.MaxEntries/shards, 1) {
				break
			}
			delete(s.entries, other)
		}
		e = &nearEntry{}
		s.entries[name] = e
	}
	return e
}

// put replaces the mark of a load by the loaded entry, or removes the mark if e is nil. It
// does nothing if an announcement has removed the mark. It reports whether the entry is kept.
func (n *near) put(name string, mark, e *nearEntry) (kept bool) {
	s := n.shard(name)
	s.Lock()
	defer s.Unlock()
	if s.entries[name] != mark {
		return false
	}
	if e == nil {
		delete(s.entries, name)
		return false
	}
	s.entries[name] = e
	return true
}

// forget removes an entry that has changed.
func (n *near) forget(name string) {
	if n == nil {
		return
	}
	s := n.shard(name)
	s.Lock()
	delete(s.entries, name)
	s.Unlock()
}

func (n *near) flush() {
	for i := range n.shards {
		s := &n.shards[i]
		s.Lock()
		s.entries = map[string]*nearEntry{}
		s.Unlock()
	}
}

// loadNear serves an entry from memory, or loads it without recording the read.
func (c *Cache) loadNear(ctx context.Context, key, name string) (Entry, error) {
	if e, ok := c.near.get(name); ok {
		c.observeNear(NearHit)
		return e, nil
	}
	mark := c.near.begin(name)
	asked := time.Now()
	e, at, err := c.loadAt(ctx, key, name, LoadOptions{NoRecord: true})
	if err != nil {
		c.near.put(name, mark, nil)
		c.observeNear(NearMiss)
		return e, err
	}
	kept := &nearEntry{loaded: true, entry: e}
	if !e.Expires.IsZero() {
		kept.until = asked.Add(e.Expires.Sub(at))
	}
	result := NearMiss
	if !c.near.put(name, mark, kept) {
		result = NearStale
	}
	c.observeNear(result)
	return e, nil
}

func (c *Cache) observeNear(result NearResult) {
	if c.observer != nil {
		c.observer.NearRead(result)
	}
}
