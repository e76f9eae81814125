package membership

import (
	_ "embed"

	"github.com/stellarfw/stellar/redisbus"
)

var (
	//go:embed lua/join.lua
	joinLua string
	//go:embed lua/renew.lua
	renewLua string
	//go:embed lua/state.lua
	stateLua string
	//go:embed lua/condemn.lua
	condemnLua string
	//go:embed lua/leave.lua
	leaveLua string
	//go:embed lua/list.lua
	listLua string
	//go:embed lua/expired.lua
	expiredLua string

	joinScript    = redisbus.NewScript(redisbus.LuaPrelude, joinLua)
	renewScript   = redisbus.NewScript(redisbus.LuaPrelude, renewLua)
	stateScript   = redisbus.NewScript(redisbus.LuaPrelude, stateLua)
	condemnScript = redisbus.NewScript(redisbus.LuaPrelude, condemnLua)
	leaveScript   = redisbus.NewScript(redisbus.LuaPrelude, leaveLua)
	listScript    = redisbus.NewScript(redisbus.LuaPrelude, listLua)
	expiredScript = redisbus.NewScript(redisbus.LuaPrelude, expiredLua)
)
