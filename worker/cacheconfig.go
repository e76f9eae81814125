package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
)

// CacheConfig configures the nodes' access to the cluster's cache. It has to be the same in
// all processes of a cluster.
type CacheConfig struct {
	// Near keeps the entries of some key prefixes in memory, separately in each node; see
	// [cache.Near].
	Near cache.Near
	// Preset shares values, lists and locks with nodes of another implementation, in that
	// implementation's layout and under its key names. Calls and messages keep this
	// project's format. Because the keys have no hash tag, a preset does not work with a
	// Redis Cluster. Default [cache.Native].
	Preset cache.Preset
	// CachePrefix and LockPrefix are, under a preset, the prefixes in the configuration of
	// the other nodes. Default: the defaults of the other implementation.
	CachePrefix, LockPrefix string
}

// Validate reports everything that is wrong with the configuration.
func (c CacheConfig) Validate() error {
	_, err := cache.ParsePreset(string(c.Preset))
	errs := []error{err}
	if c.Preset == cache.Native && c.CachePrefix+c.LockPrefix != "" {
		errs = append(errs, errors.New("the cache's prefixes are those of a compatibility preset: name one"))
	}
	if c.CachePrefix != "" && c.CachePrefix == c.LockPrefix {
		errs = append(errs, fmt.Errorf("the prefix %q cannot be that of entries and of locks", c.CachePrefix))
	}
	if c.Near.MaxEntries < 0 {
		errs = append(errs, fmt.Errorf("near cache: %d entries is negative", c.Near.MaxEntries))
	}
	if c.Near.MaxStale < 0 || c.Near.MaxStale > time.Hour {
		errs = append(errs, fmt.Errorf("near cache: a staleness of %s: use at most %s", c.Near.MaxStale, time.Hour))
	}
	return errors.Join(errs...)
}

// open returns a cache with the configuration. with has the rest: what differs between the
// caches of a process.
func (c CacheConfig) open(with cache.Config) *cache.Cache {
	with.Near, with.Preset, with.CachePrefix, with.LockPrefix = c.Near, c.Preset, c.CachePrefix, c.LockPrefix
	return cache.New(with)
}
