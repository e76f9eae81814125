package queue

import (
	"embed"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
)

//go:embed lua
var lua embed.FS

// source returns the text of one file in lua.
func source(name string) string {
	b, err := lua.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // cannot happen: all files in lua are embedded
	}
	return string(b)
}

// script returns a script made of the named shared files and its own file in lua.
func script(name string, shared ...string) *link.Script {
	return link.NewScript(link.LuaPrelude, join(append(slices.Concat([]string{"line", "names", "places", "turns"}, shared), name)...))
}

// gives is the line of a shared file that names what others use of it.
var gives = regexp.MustCompile(`(?m)^-- gives: (.+)$`)

// enclosed has what a file does not give to others be its own: a Lua function has at most 200 local
// variables, and those of a script are the variables of one.
func enclosed(text string) string {
	m := gives.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	return "local " + m[1] + " = (function()\n" + text + "\nreturn " + m[1] + " end)()"
}

// join returns the text of some files in lua.
func join(names ...string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = enclosed(source(name))
	}
	return strings.Join(parts, "\n")
}

var (
	// enqueueScript stores batches in which no task has a unique key or follows
	// others. enqueueBinding stores all batches, and is half as fast.
	enqueueScript = link.NewScript(link.LuaPrelude,
		join("record", "line", "plain", "names", "unplain", "numbered", "places", "turns", "bodies", "adding", "enqueue"))
	enqueueBinding = link.NewScript(link.LuaPrelude,
		join("line", "names", "before", "numbered", "places", "turns"), join(bindings...), join("enqueue"))
	// bulkScript stores batches of plain tasks whose records are ready.
	bulkScript        = link.NewScript(link.LuaPrelude, join("line", "names", "before", "numbered", "places", "turns", "bulk"))
	clockScript       = script("clock")
	claimScript       = script("claim", "bodies", "sharing")
	serveScript       = script("serve")
	workScript        = link.NewScript(link.LuaPrelude, join("names", "speed", "work"))
	takeoverScript    = script("takeover", append(endings, "burying", "sharing")...)
	dueScript         = script("due", append(endings, "burying", "finding")...)
	leaveScript       = script("leave")
	tickScript        = script("tick", append(bindings, "registering")...)
	setPeriodicScript = script("setperiodic", "registering")
	resignScript      = script("resign")
	soloScript        = script("solo")
	quietScript       = script("quiet")
	pauseScript       = script("pause")
	groupScript       = script("group")
	progressScript    = script("progress")
	waitScript        = script("wait")
	showScript        = script("show", append(endings, "seeking")...)
	cancelScript      = script("cancel", append(endings, "finding")...)
	deleteScript      = script("delete", append(endings, "finding")...)
	clearScript       = script("clear", append(endings, "finding")...)
	queueScript       = script("queue", append(endings, "finding")...)
	defaultsScript    = script("defaults")
	weighScript       = script("weigh", "bodies", "moving")
	rescheduleScript  = script("reschedule", append(endings, "finding", "stepping")...)
	editScript        = script("edit", append(bindings, "finding")...)
	retryScript       = script("retry", append(bindings, "finding", "reviving")...)
	rerunScript       = script("rerun", append(bindings, "finding", "reviving", "stepping")...)

	defineScript      = script("define", "defining")
	definitionsScript = script("definitions", "defining")

	endings  = []string{"bodies", "moving", "ties", "endings"}
	bindings = []string{"bodies", "moving", "ties", "endings", "record", "adding", "binding"}
)

// cacheScripts has the results of withCache: there are as many as cache layouts, and thousands
// of sessions.
var cacheScripts sync.Map //nolint:gochecknoglobals // a cache of what never changes, like the scripts above

// newCommitScript returns the script that commits the outcomes of runs. It writes the
// effects on cache entries in the layout of c.
func newCommitScript(c *cache.Cache) *link.Script {
	return withCache(c, "burying", "retaining", "speed", "effects", "sharing", "commit")
}

// newStepScript returns the script that notes steps of runs, likewise.
func newStepScript(c *cache.Cache) *link.Script { return withCache(c, "stepping", "effects", "step") }

func withCache(c *cache.Cache, names ...string) *link.Script {
	type text struct{ layout, last string }
	it := text{c.LuaEffects(), names[len(names)-1]}
	if known, ok := cacheScripts.Load(it); ok {
		return known.(*link.Script) //nolint:forcetypeassert // nothing else is stored
	}
	script := link.NewScript(link.LuaPrelude, it.layout, join("line", "names", "places", "turns"), join(bindings...), join(names...))
	cacheScripts.Store(it, script)
	return script
}
