package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// machine takes steps on Redis, by the scripts and what calls them, and on the
// spec, and compares both after each. Its actors never stop acting, whatever
// became of their incarnations, and send again what they have sent before.
type machine struct {
	t     require.TestingT
	draw  draw
	ctx   context.Context
	redis *redis.Client
	keys  link.Keys

	spec    *spec
	store   Store
	ids     IDs // the same in every run
	names   IDs // of bodies
	cache   *cache.Cache
	actors  []*actor
	senders map[string]*sender // by the names of their producers
	saved   *point
	told    map[string]int  // that the scripts of a step told of
	shared  map[string]bool // ids of tasks that ever shared a place of their queue
	starts  startLog

	weighers   [2]weighing // see [Store.weighSome]
	publishers [3]Publication
	learned    string // see [Store.Definitions]
}

var errClosed = errors.New("closed")

// draw chooses a number below most.
type draw func(what string, most int) int

// point is a moment to which Redis can go back.
type point struct {
	spec    *spec
	stored  stored
	effects string
}

var (
	modelQueues    = []string{"a", "b"}
	modelTaskNames = []string{"t", "u"}
	// commitScript is what actors end tasks with.
	commitScript = newCommitScript(cache.New(cache.Config{}))
)

// clockKey holds the time of the scripts in a model's run: it goes on when the
// model says so, on any Redis.
const (
	clockKey   = "model:clock"
	modelStart = 1_800_000_000_000
)

// clocked are the scripts with that clock.
func clocked(source string) string {
	prelude := strings.Replace(link.LuaPrelude, "local t = redis.call('TIME')\n",
		"local t = {tonumber(redis.call('GET', '"+clockKey+"')) / 1000, 0}\n", 1)
	return strings.Replace(source, link.LuaPrelude, prelude, 1)
}

// scripts are all of them, to be swapped.
func scripts() []**link.Script {
	return []**link.Script{
		&enqueueScript, &enqueueBinding, &bulkScript, &clockScript, &claimScript, &serveScript, &workScript, &takeoverScript, &dueScript, &leaveScript, &tickScript, &setPeriodicScript, &editScript,
		&resignScript, &pauseScript, &groupScript, &progressScript, &waitScript, &quietScript, &soloScript,
		&showScript, &cancelScript, &deleteScript, &clearScript, &queueScript, &defaultsScript, &weighScript, &rescheduleScript, &retryScript, &rerunScript, &commitScript,
		&defineScript, &definitionsScript, &stepScript,
	}
}

// swapScripts changes the text of all scripts until the function that it returns is called.
func swapScripts(change func(source string) string) (back func()) {
	var before []*link.Script
	for _, s := range scripts() {
		before = append(before, *s)
		*s = link.NewScript(change((*s).Source()))
	}
	return func() {
		for i, s := range scripts() {
			*s = before[i]
		}
	}
}

// newMachine empties that Redis for a run.
func newMachine(ctx context.Context, t require.TestingT, c *redis.Client, d draw) *machine {
	keys := link.NewKeys("model")
	require.NoError(t, c.FlushAll(ctx).Err())
	m := &machine{
		shared: map[string]bool{}, starts: startLog{},
		t: t, draw: d, ctx: ctx, redis: c, keys: keys, spec: newSpec(modelStart), senders: map[string]*sender{},
		store: NewStore(c, keys), ids: IDs{producer: "new"}, names: IDs{producer: "body"}, cache: cache.New(cache.Config{Client: c, Keys: keys}),
	}
	m.store.near = 1 // lines are short, and sought in as long ones are
	for _, producer := range []string{"p0", "p1"} {
		m.senders[producer] = &sender{producer: NewProducer(ctx, c, keys)}
		m.senders[producer].producer.name, m.senders[producer].producer.OnEnd = producer, m.onEnd
	}
	m.store.OnEnd, m.store.stepping = m.onEnd, func(*cache.Cache) *link.Script { return stepScript }
	m.prepareCache()
	m.sleep(0)
	return m
}

// actions are the steps that a machine can take.
func (m *machine) actions() map[string]func() {
	actions := map[string]func(){
		"enqueue again": m.enqueueAgain, "enqueue crossed": m.enqueueCrossed, "claim again": m.claimAgain, "claim stale": m.claimStale,
		"commit again": m.commitAgain, "commit stale": m.commitStale,
		"withdraw": m.withdraw, "withdraw again": m.withdrawAgain, "condemn": m.condemn, "leave": m.leave, "resign": m.resign,
		"solo": m.solo, "cancel": m.cancel, "delete": m.remove, "retry": m.retry, "reschedule": m.reschedule, "edit": m.edit, "pause": m.pause,
		"clear": m.clear, "wait": m.wait, "progress": m.progress, "note again": m.noteAgain, "rerun": m.rerun, "tick": m.tick, "set periodic": m.setPeriodic, "look": m.look, "quiet": m.quiet, "publish": m.publish, "learn": m.learn, "save": m.save, "go back": m.goBack, "leave mover": m.leaveMover, "lose index": m.loseIndex, "age": m.age, "halt": m.halt,
	}
	for name, some := range map[string]struct { // these make the others meet something
		times  int
		action func()
	}{
		"enqueue": {4, m.enqueue}, "enqueue chosen": {2, m.enqueueChosen}, "join": {2, m.join}, "claim": {5, m.claim},
		"commit": {3, m.commit}, "commit done": {2, m.commitDone}, "commit joint": {3, m.commitJoint}, "work": {3, m.work}, "crash": {3, m.crash}, "take over": {2, m.takeOver},
		"pass": {2, m.pass}, "due": {2, m.due}, "limit": {2, m.limit}, "weigh": {2, m.weigh}, "note": {3, m.note},
	} {
		for i := range some.times {
			actions[name+" "+strconv.Itoa(i)] = some.action
		}
	}
	return actions
}

// step takes one step and compares.
func (m *machine) step(action func()) {
	m.begin()
	action()
	m.spec.flush()
	m.compare()
}

// then ends one script within a step, and begins another.
func (m *machine) then() {
	m.spec.flush()
	m.compare()
	m.begin()
}

func (m *machine) begin() {
	m.spec.begin()
	m.told = map[string]int{}
}

// onEnd counts what a script tells.
func (m *machine) onEnd(e End) {
	if e.How == Duplicate {
		return
	}
	require.NotEmpty(m.t, e.ID)
	require.NotEmpty(m.t, e.Name)
	m.told[e.Queue+"|"+e.How]++
}

// compare fails where Redis is not what the spec says.
func (m *machine) compare() {
	got := read(m.ctx, m.t, m.redis, m.keys.Prefix())
	m.adopt(got)
	m.adoptTurns(got)
	want := m.spec.render()
	if plain := got.plain(); !maps.EqualFunc(want, plain, maps.Equal) {
		for _, name := range slices.Sorted(maps.Keys(merge(want, plain))) {
			require.Equal(m.t, want[name], plain[name], "key %s", name)
		}
	}
	require.Equal(m.t, m.spec.ends, m.told, "what the scripts told")
	m.checkPlaces(got)
	m.checkFollowers(got)
}

func merge(a, b stored) stored {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// adopt takes over what Redis may choose: the order of what was handed on
// together, and who is woken.
func (m *machine) adopt(got stored) {
	for line, n := range m.spec.handed {
		have, ids := got.ids("queue:"+line), m.spec.Lines[line]
		if len(have) != len(ids) {
			continue // told apart below
		}
		from := len(ids) - n
		require.ElementsMatch(m.t, ids[from:], have[from:], "handed on to the front of %s", line)
		copy(ids[from:], have[from:])
	}
	for line, n := range m.spec.hooked {
		have, ids := got.ids("queue:"+line), m.spec.Lines[line]
		if len(have) != len(ids) {
			continue
		}
		require.ElementsMatch(m.t, ids[:n], have[:n], "hooks at the end of %s", line)
		copy(ids[:n], have[:n])
	}
	for set, idle := range m.spec.Idle {
		have := got["idle:"+set]
		if list, is := strings.CutPrefix(set, "@"); is {
			have = got["idlers:"+list]
		}
		left := len(idle) - m.spec.woken[set]
		if called := m.spec.called[set]; called != "" {
			require.NotContains(m.t, have, called)
			if left--; m.spec.woken[set] > 0 { // it may have been woken as any other
				left = max(left, len(have))
			}
		}
		require.Len(m.t, have, left, "idle nodes of %s", set)
		for incarnation := range have {
			require.Contains(m.t, idle, incarnation, "idle nodes of %s", set)
		}
		maps.DeleteFunc(idle, func(incarnation string, _ bool) bool { _, still := have[incarnation]; return !still })
	}
}

// pages are the settings of a Redis that returns a short hash in several pages.
var pages = []string{"--hash-max-listpack-entries", "1"}

// sleep lets time pass.
func (m *machine) sleep(ms int64) {
	if m.spec.Now += ms; ms < 0 {
		clear(m.starts)
	}
	require.NoError(m.t, m.redis.Set(m.ctx, clockKey, m.spec.Now, 0).Err())
}

// run calls a script of the mending ones.
func (m *machine) run(s *link.Script, args ...any) []any {
	cmd := s.Run(m.ctx, m.redis, m.keys.TaskKeys(), args...)
	reply, err := cmd.Slice()
	require.NoError(m.t, err)
	if s == cancelScript || s == deleteScript {
		fields, err := link.ReplyOf(cmd)
		require.NoError(m.t, err)
		ends, _ := takeEnds(fields)
		report(m.onEnd, ends)
	}
	return reply
}

// task draws one that Redis knows, or one that it does not.
func (m *machine) task() string {
	ids := m.spec.ids()
	i := m.draw("task", len(ids)+1)
	if i == len(ids) {
		return "c" + strconv.Itoa(m.draw("chosen id", 4))
	}
	return ids[i]
}

func (m *machine) save() {
	effects, _ := m.redis.Get(m.ctx, m.cache.EntryKey("effects")).Result() // none yet
	m.saved = &point{spec: m.spec.clone(), stored: read(m.ctx, m.t, m.redis, m.keys.Prefix()), effects: effects}
}

// goBack is a Redis that has lost what it had acknowledged since then. Nobody
// is told.
func (m *machine) goBack() {
	if m.saved == nil {
		return
	}
	now := m.spec.Now
	m.spec = m.saved.spec.clone()
	m.spec.begin()
	require.NoError(m.t, m.redis.FlushAll(m.ctx).Err())
	m.saved.stored.restore(m.ctx, m.t, m.redis, m.keys.Prefix())
	clear(m.starts)
	m.weighers = [2]weighing{} // their connections broke
	m.prepareCache()
	if m.saved.effects != "" {
		require.NoError(m.t, m.redis.Set(m.ctx, m.cache.EntryKey("effects"), m.saved.effects, 0).Err())
	}
	m.sleep(now - m.spec.Now)
	m.checkEffects()
}

// prepareCache makes a list, on which a counter's effects are refused.
func (m *machine) prepareCache() {
	_, err := m.cache.Push(m.ctx, "list", 1)
	require.NoError(m.t, err)
}

// checkEffects: every run that was accepted counts once, no other does (P3).
func (m *machine) checkEffects() {
	n, err := cache.Get[int](m.ctx, m.cache, "effects")
	if errors.Is(err, cache.ErrNotFound) {
		err = nil
	}
	require.NoError(m.t, err)
	require.Equal(m.t, m.spec.Effects, n, "effects of accepted runs")
}

// machines runs the model with every choice by rapid, each run so many times as
// long as rapid's flags say.
func machines(t *testing.T, cfg link.Config, longer int) {
	t.Helper()
	c := redistest.Client(t, cfg)
	listen(t, c, link.NewKeys("model"))
	back := swapScripts(clocked)
	defer back()
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t.Context(), rt, c, nil)
		actions := map[string]func(*rapid.T){}
		for name, action := range m.actions() {
			actions[name] = func(rt *rapid.T) {
				m.draw = func(what string, most int) int { return rapid.IntRange(0, most-1).Draw(rt, what) }
				m.step(action)
			}
		}
		for range longer {
			rt.Repeat(actions)
		}
	})
}

// listen has everybody awake who is woken.
func listen(t *testing.T, c *redis.Client, k link.Keys) {
	t.Helper()
	sub := c.PSubscribe(t.Context(), k.Wake("*"), k.Program(runningProgram))
	t.Cleanup(func() { _ = sub.Close() })
	for range 2 {
		_, err := sub.Receive(t.Context())
		require.NoError(t, err)
	}
	go func() {
		for range sub.Channel() {
		}
	}()
}

func TestTasksAreWhereTheModelSays(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { machines(t, redistest.Embedded(t).Config(), 1) })
	t.Run("redis", func(t *testing.T) { machines(t, redistest.Start(t, pages...).Config(), 2) })
}
