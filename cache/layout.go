package cache

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Preset says which other programs share the cache: it decides key names and the
// layout of entries, lists and locks.
type Preset string

const (
	// Native is this project's own layout: every key has the namespace's hash tag, and
	// entries begin with a head of fixed width instead of being JSON objects.
	Native Preset = ""
	// Stellar shares the cache with nodes of the original Stellar. Such nodes may free
	// any lock, and may believe that they hold a lock that they do not hold: locks do
	// not protect against them.
	Stellar Preset = "stellar"
	// ActionHero shares the cache with nodes of actionhero.
	ActionHero Preset = "actionhero"
)

// ParsePreset reads a preset's name from a configuration: "", "stellar" or "actionhero".
func ParsePreset(name string) (Preset, error) {
	switch p := Preset(name); p {
	case Native, Stellar, ActionHero:
		return p, nil
	default:
		return Native, fmt.Errorf("%w: preset %q: use %q, %q, or none", ErrInvalid, name, Stellar, ActionHero)
	}
}

// names builds the names of one cache's Redis keys.
type names struct {
	keys                    link.Keys
	cachePrefix, lockPrefix string
	native                  bool
}

func newNames(cfg Config) names {
	n := names{keys: cfg.Keys, cachePrefix: cfg.CachePrefix, lockPrefix: cfg.LockPrefix, native: cfg.Preset == Native}
	own := map[Preset][2]string{
		Native:     {cfg.Keys.CachePrefix(), cfg.Keys.LockPrefix()},
		Stellar:    {"stellar:cache", "stellar:lock"},
		ActionHero: {"actionhero:cache:", "actionhero:lock:"},
	}[cfg.Preset]
	if n.cachePrefix == "" || n.native {
		n.cachePrefix = own[0]
	}
	if n.lockPrefix == "" || n.native {
		n.lockPrefix = own[1]
	}
	return n
}

func (n names) entry(key string) string { return n.cachePrefix + key }
func (n names) lock(key string) string  { return n.lockPrefix + key }

// loader returns the key of the lock under which [GetOrLoad] computes an entry: the same as
// cache_loader_key in the layout's Lua.
func (n names) loader(key string) string {
	if n.native {
		return n.keys.Loader(key)
	}
	return "loader:" + n.entry(key)
}

// pattern returns a glob pattern for the keys that begin with prefix and continue with a
// match of glob; special characters in prefix stand for themselves.
func pattern(prefix, glob string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(prefix) + glob
}

var (
	//go:embed lua/clock.lua
	luaClock string
	//go:embed lua/tick.lua
	luaTick string
	//go:embed lua/digits.lua
	luaDigits string
	//go:embed lua/entry.lua
	luaEntry string
	//go:embed lua/compat.lua
	luaCompat string
	//go:embed lua/hold.lua
	luaHold string
	//go:embed lua/effects.lua
	luaEffects string

	//go:embed lua/save.lua
	luaSave string
	//go:embed lua/load.lua
	luaLoad string
	//go:embed lua/destroy.lua
	luaDestroy string
	//go:embed lua/increment.lua
	luaIncrement string
	//go:embed lua/restore.lua
	luaRestore string
	//go:embed lua/push.lua
	luaPush string
	//go:embed lua/lock.lua
	luaLock string
	//go:embed lua/renew.lua
	luaRenew string
	//go:embed lua/unlock.lua
	luaUnlock string
	//go:embed lua/release.lua
	luaRelease string
	//go:embed lua/holder.lua
	luaHolder string

	//go:embed lua/fast/save.lua
	luaFastSave string
	//go:embed lua/fast/load.lua
	luaFastLoad string
	//go:embed lua/fast/lock.lua
	luaFastLock string
	//go:embed lua/fast/unlock.lua
	luaFastUnlock string
)

// LuaEffects returns Lua that lets a script of another package write to the cache in
// the same step as to its own keys. The script has to contain it after [link.LuaPrelude].
// It defines local functions whose names begin with cache_:
//
//   - cache_refuses(op, entrykey, lockkey, token, argument) returns nil if a write is
//     allowed, or a code that [Refusal] turns into an error. It only reads. Call it for all
//     writes, in their order, before the first write: it takes the effects of the earlier
//     writes into account. op is "save", "destroy", "push" or "increment"; argument is the
//     value or the number to add; token is the result of [Token].
//   - cache_save(entrykey, value, ttl_ms), cache_destroy(entrykey),
//     cache_push(entrykey, value), cache_increment(entrykey, delta) write.
//
// Values are JSON as [Encode] returns it, numbers are decimal digits, and a ttl of 0 means
// no expiry. The key names are those of [Cache.EntryKey] and [Cache.LockKey].
func (c *Cache) LuaEffects() string { return effectsOf(c.preset) }

// effectsOf returns the Lua for writes in the layout of a preset.
func effectsOf(p Preset) string {
	layout := luaEntry
	if p != Native {
		layout = fmt.Sprintf("local cache_pttl = %t\n", p == ActionHero) + luaCompat
	}
	return luaClock + luaTick + layout + luaHold + luaEffects
}

// scripts are the scripts of one layout.
type scripts struct {
	save, load, destroy, increment, restore, push, lock, renew, unlock, release, holder *link.Script
	// The fast scripts handle the common cases of the native layout, each for several
	// callers at once (see [Batcher]), and leave all other cases to the other scripts; they
	// are nil for other layouts. They contain almost no shared functions: defining those in
	// every run is half of the cost of the other scripts.
	fastSave, fastLoad, fastLock, fastUnlock *link.Script
}

var layouts = map[Preset]*scripts{Native: newScripts(Native), Stellar: newScripts(Stellar), ActionHero: newScripts(ActionHero)}

func newScripts(p Preset) *scripts {
	effects := effectsOf(p)
	join := func(text string) *link.Script {
		return link.NewScript(link.LuaPrelude, effects, text)
	}
	s := &scripts{
		save: join(luaSave), load: join(luaLoad), destroy: join(luaDestroy), increment: join(luaIncrement),
		restore: join(luaRestore), push: join(luaPush), lock: join(luaLock), renew: join(luaRenew),
		unlock: join(luaUnlock), release: join(luaRelease), holder: join(luaHolder),
	}
	if p == Native {
		s.fastSave = link.NewScript(luaDigits, luaFastSave)
		s.fastLoad = link.NewScript(luaDigits, luaFastLoad)
		s.fastLock = link.NewScript(luaTick, luaFastLock)
		s.fastUnlock = link.NewScript(luaFastUnlock)
	}
	return s
}
