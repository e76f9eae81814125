package queue

import (
	"embed"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
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
func script(name string, shared ...string) *link.Script {
	parts := []string{link.LuaPrelude, source("places")}
	for _, s := range shared {
		parts = append(parts, source(s))
	}
	return link.NewScript(append(parts, source(name))...)
}

var (
	// enqueueScript is for batches without unique keys and tasks that follow
	// others; what these need makes it half as fast.
	enqueueScript    = script("enqueue", "adding")
	enqueueBinding   = script("enqueue", bindings...)
	claimScript      = script("claim")
	takeoverScript   = script("takeover", endings...)
	dueScript        = script("due", endings...)
	tickScript       = script("tick", bindings...)
	resignScript     = script("resign")
	soloScript       = script("solo")
	quietScript      = script("quiet")
	pauseScript      = script("pause")
	progressScript   = script("progress")
	waitScript       = script("wait")
	showScript       = script("show", endings...)
	cancelScript     = script("cancel", append(endings, "finding")...)
	deleteScript     = script("delete", append(endings, "finding")...)
	clearScript      = script("clear", append(endings, "finding")...)
	queueScript      = script("queue", append(endings, "finding")...)
	rescheduleScript = script("reschedule", append(endings, "finding")...)
	retryScript      = script("retry", append(bindings, "finding")...)

	endings  = []string{"moving", "ties", "endings"}
	bindings = []string{"moving", "ties", "endings", "adding", "binding"}
)

// newCommitScript returns the script that ends tasks, with the effects in the layout
// of that cache. A session makes it once.
func newCommitScript(c *cache.Cache) *link.Script {
	parts := []string{link.LuaPrelude, c.LuaEffects(), source("places")}
	for _, s := range bindings {
		parts = append(parts, source(s))
	}
	return link.NewScript(append(parts, source("commit"))...)
}
