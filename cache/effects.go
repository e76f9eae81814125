package cache

import (
	_ "embed"

	"github.com/stellarfw/stellar/redisbus"
)

var (
	//go:embed lua/entry.lua
	luaEntry string
	//go:embed lua/hold.lua
	luaHold string
	//go:embed lua/effects.lua
	luaEffects string
)

// LuaEffects is Lua that lets a script of another package write to the cache in
// the same step as its own keys. It goes after [redisbus.LuaPrelude] and defines
// local functions whose names begin with cache_:
//
//   - cache_refuses(op, entrykey, lockkey, token, argument) returns nil, or a code
//     that [Refusal] turns into an error. It only reads, and is to be called for all
//     writes, in their order, before the first one: it sees what the earlier ones
//     will leave. op is "save", "destroy", "push" or "increment"; argument is the
//     value or what is added; token is [Token]'s, or "".
//   - cache_save(entrykey, value, ttl_ms), cache_destroy(entrykey),
//     cache_push(entrykey, value), cache_increment(entrykey, delta) write.
//
// Values are JSON as it is to be stored (see [Encode]), numbers decimal digits,
// a ttl of 0 means none.
var LuaEffects = luaEntry + "\n" + luaHold + "\n" + luaEffects

func script(text string) *redisbus.Script {
	return redisbus.NewScript(redisbus.LuaPrelude, LuaEffects, text)
}
