package config

import (
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/worker"
)

const groupCompat = "Compatibility"

// compat selects the layout of the cache in Redis: the preset names the implementation
// whose nodes share the cache, the prefixes are those of its keys.
type compat struct {
	preset, cachePrefix, lockPrefix string
}

// CacheFlags returns the flags that every command on the cache has.
func (s *Settings) CacheFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{
			Name: "compat", Category: groupCompat, Destination: &s.preset, Sources: s.from("compat", "STELLAR_COMPAT"),
			Usage: "share the cache, its lists and its locks with nodes of that `IMPLEMENTATION`, stellar or actionhero, in their layout; " +
				"this flag covers the cache only: calls, messages and tasks stay this project's own",
		},
		&urfave.StringFlag{
			Name: "cache-prefix", Category: groupCompat, Destination: &s.cachePrefix, Sources: s.from("cache-prefix", "STELLAR_CACHE_PREFIX"),
			Usage: "with --compat, the `PREFIX` of entries in those nodes' configuration", DefaultText: "what they ship with",
		},
		&urfave.StringFlag{
			Name: "lock-prefix", Category: groupCompat, Destination: &s.lockPrefix, Sources: s.from("lock-prefix", "STELLAR_LOCK_PREFIX"),
			Usage: "with --compat, the `PREFIX` of locks in those nodes' configuration", DefaultText: "what they ship with",
		},
	}
}

// checkCompat is the part of [Settings.Check] for the flags of the cache.
func (s *Settings) checkCompat(require requirement) {
	_, err := cache.ParsePreset(s.preset)
	require("compat", err == nil, "%q is neither stellar nor actionhero", s.preset)
	for flag, prefix := range map[string]string{"cache-prefix": s.cachePrefix, "lock-prefix": s.lockPrefix} {
		require(flag, s.preset != "" || prefix == "", "it is that of other nodes: name them with --compat")
	}
	require("lock-prefix", s.lockPrefix == "" || s.lockPrefix != s.cachePrefix, "%q is the prefix of entries already", s.lockPrefix)
}

// CacheConfig returns the layout of the cache.
func (s *Settings) CacheConfig() worker.CacheConfig {
	return worker.CacheConfig{Preset: cache.Preset(s.preset), CachePrefix: s.cachePrefix, LockPrefix: s.lockPrefix}
}
