package link

import _ "embed"

// Lua snippets that the scripts of several packages share; [NewScript] joins
// them. Each defines local functions and nothing else.
var (
	// LuaPrelude: now() is Redis's time in milliseconds, int(n) prints all
	// digits of a number, fits(key, type) checks a key's type, and writable()
	// lets the script's writes through at maxmemory.
	//
	//go:embed lua/prelude.lua
	LuaPrelude string
)
