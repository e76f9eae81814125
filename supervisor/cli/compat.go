package cli

import (
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/worker"
)

const groupCompat = "Compatibility"

// compatSettings say with whose nodes the cache is shared.
type compatSettings struct {
	compat, cachePrefix, lockPrefix string
}

// compatFlags are those of everything that touches the cache.
func (p *program) compatFlags() []urfave.Flag {
	in := p.input
	return []urfave.Flag{
		&urfave.StringFlag{
			Name: "compat", Category: groupCompat, Destination: &p.compat, Sources: in.from("compat", "STELLAR_COMPAT"),
			Usage: "share the cache, its lists and its locks with nodes of `NAME` stellar or actionhero, in their layout; " +
				"this flag covers the cache only: calls, messages and tasks stay this project's own",
		},
		&urfave.StringFlag{
			Name: "cache-prefix", Category: groupCompat, Destination: &p.cachePrefix, Sources: in.from("cache-prefix", "STELLAR_CACHE_PREFIX"),
			Usage: "with --compat, the `PREFIX` of entries in those nodes' configuration", DefaultText: "what they ship with",
		},
		&urfave.StringFlag{
			Name: "lock-prefix", Category: groupCompat, Destination: &p.lockPrefix, Sources: in.from("lock-prefix", "STELLAR_LOCK_PREFIX"),
			Usage: "with --compat, the `PREFIX` of locks in those nodes' configuration", DefaultText: "what they ship with",
		},
	}
}

// checkCompat reports what is wrong with these settings, as check does.
func (p *program) checkCompat(require func(flag string, ok bool, format string, args ...any)) {
	_, err := cache.ParsePreset(p.compat)
	require("compat", err == nil, "%q is neither stellar nor actionhero", p.compat)
	for flag, prefix := range map[string]string{"cache-prefix": p.cachePrefix, "lock-prefix": p.lockPrefix} {
		require(flag, p.compat != "" || prefix == "", "it is that of other nodes: name them with --compat")
	}
	require("lock-prefix", p.lockPrefix == "" || p.lockPrefix != p.cachePrefix, "%q is the prefix of entries already", p.lockPrefix)
}

func (p *program) cacheConfig() worker.CacheConfig {
	return worker.CacheConfig{Preset: cache.Preset(p.compat), CachePrefix: p.cachePrefix, LockPrefix: p.lockPrefix}
}
