package tasks

import (
	"embed"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
)

//go:embed lua
var lua embed.FS

// source returns the text of one file in lua.
func source(name string) string {
	b, err := lua.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // it is embedded under that very name
	}
	return string(b)
}

// script joins a script from its own text and what it shares with others.
func script(name string, shared ...string) *redisbus.Script {
	parts := []string{redisbus.LuaPrelude, source("places")}
	for _, s := range shared {
		parts = append(parts, source(s))
	}
	return redisbus.NewScript(append(parts, source(name))...)
}

var (
	enqueueScript    = script("enqueue", "endings", "adding")
	claimScript      = script("claim")
	takeoverScript   = script("takeover", "endings")
	dueScript        = script("due", "endings")
	tickScript       = script("tick", "endings", "adding")
	resignScript     = script("resign")
	pauseScript      = script("pause")
	progressScript   = script("progress")
	waitScript       = script("wait")
	showScript       = script("show", "endings")
	cancelScript     = script("cancel", "endings", "finding")
	deleteScript     = script("delete", "endings", "finding")
	clearScript      = script("clear", "endings", "finding")
	queueScript      = script("queue", "endings", "finding")
	rescheduleScript = script("reschedule", "endings", "finding")
	retryScript      = script("retry", "endings", "adding", "finding")
)

// newCommitScript is the one that ends tasks, with the effects in the layout of
// that cache. A runner makes it once.
func newCommitScript(c *cache.Cache) *redisbus.Script {
	return redisbus.NewScript(redisbus.LuaPrelude, c.LuaEffects(), source("places"), source("endings"), source("adding"), source("commit"))
}
