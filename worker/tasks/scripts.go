package tasks

import (
	_ "embed"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
)

var (
	//go:embed lua/state.lua
	stateLua string
	//go:embed lua/enqueue.lua
	enqueueLua string
	//go:embed lua/claim.lua
	claimLua string
	//go:embed lua/commit.lua
	commitLua string
	//go:embed lua/takeover.lua
	takeoverLua string
	//go:embed lua/due.lua
	dueLua string
	//go:embed lua/tick.lua
	tickLua string
	//go:embed lua/resign.lua
	resignLua string
	//go:embed lua/pause.lua
	pauseLua string

	enqueueScript  = redisbus.NewScript(redisbus.LuaPrelude, stateLua, enqueueLua)
	claimScript    = redisbus.NewScript(redisbus.LuaPrelude, stateLua, claimLua)
	takeoverScript = redisbus.NewScript(redisbus.LuaPrelude, stateLua, takeoverLua)
	dueScript      = redisbus.NewScript(redisbus.LuaPrelude, stateLua, dueLua)
	tickScript     = redisbus.NewScript(redisbus.LuaPrelude, stateLua, tickLua)
	resignScript   = redisbus.NewScript(redisbus.LuaPrelude, stateLua, resignLua)
	pauseScript    = redisbus.NewScript(pauseLua)
)

// newCommitScript is the one that ends tasks, with the effects in the layout of
// that cache. A runner makes it once.
func newCommitScript(c *cache.Cache) *redisbus.Script {
	return redisbus.NewScript(redisbus.LuaPrelude, c.LuaEffects(), stateLua, commitLua)
}
