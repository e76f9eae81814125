package membership

import (
	_ "embed"

	"github.com/stellarfw/stellar/redisbus/link"
)

var (
	//go:embed lua/admit.lua
	admitLua string // a snippet
	//go:embed lua/layout.lua
	layoutLua string
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
	//go:embed lua/live.lua
	liveLua string
	//go:embed lua/expired.lua
	expiredLua string

	layoutScript  = link.NewScript(link.LuaPrelude, admitLua, layoutLua)
	joinScript    = link.NewScript(link.LuaPrelude, admitLua, joinLua)
	renewScript   = link.NewScript(link.LuaPrelude, renewLua)
	stateScript   = link.NewScript(link.LuaPrelude, stateLua)
	condemnScript = link.NewScript(link.LuaPrelude, condemnLua)
	leaveScript   = link.NewScript(link.LuaPrelude, leaveLua)
	listScript    = link.NewScript(link.LuaPrelude, listLua)
	liveScript    = link.NewScript(link.LuaPrelude, liveLua)
	expiredScript = link.NewScript(link.LuaPrelude, expiredLua)
)
