package queue

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

// dies has all tasks die, those of hooks too.
func (m *machine) dies(why string) { m.ends(Dead, "1|0", `{"reason":"`+why+`","error":"x"}`) }

// hooks publishes definitions in which u is the hook of t.
func (m *machine) hooks(definitions map[string]Definition) {
	m.step(func() { m.publishAs(&Publication{Definitions: definitions}) })
}

// hookOf has t's hook in a queue.
func hookOf(queue string) map[string]Definition {
	return map[string]Definition{"t": {Queue: "a", OnDead: "u"}, "u": {Queue: queue, OnDead: "t"}}
}

// hookCases are deaths of tasks that have hooks.
var hookCases = map[string]func(*machine){
	"the hook of a task that failed": func(m *machine) {
		m.hooks(hookOf("b"))
		m.enqueueOne(1, draft{Meta: map[string]string{"tenant": "acme"}})
		m.enqueueOne(2, draft{Large: true})
		m.dies("failed") // these have hooks
		m.sleep(1)
		m.dies("failed") // and the hooks have none
	},
	"the hook of a task that dies twice within a millisecond": func(m *machine) {
		m.hooks(map[string]Definition{"t": {Queue: "a", OnDead: "v"}}) // v is not defined
		id := m.enqueueOne(1, draft{})
		m.dies("failed")
		m.choose(map[string]int{"task": slices.Index(m.spec.ids(), id)}, m.retry)
		m.dies("failed")
	},
	"the hook of a task that was late": func(m *machine) {
		m.hooks(hookOf("a"))
		m.enqueueOne(1, draft{Deadline: m.spec.Now + 1000, In: 5e9})
		m.sleep(1000)
		m.step(func() { m.dueOf(100, 100) })
	},
	"the hook of a task that was quarantined": func(m *machine) {
		m.hooks(hookOf("b"))
		id := m.enqueueOne(1, draft{})
		for range QuarantineAfter {
			m.takeAll()
			a := m.actors[len(m.actors)-1]
			m.step(func() {
				m.setLease(a.name, -m.spec.Now)
				m.takeOverOf(a, Remains{Suspects: []string{id}})
			})
		}
	},
	"a hook that has no place": func(m *machine) {
		m.hooks(hookOf("b"))
		m.enqueueOne(1, draft{Deadline: m.spec.Now + 1000, In: 5e9})
		id := m.enqueueOne(1, draft{})
		m.takeAll()
		a := m.actors[len(m.actors)-1]
		m.sleep(1000)
		for _, key := range []string{m.keys.Queue("b"), m.keys.Delayed("b")} {
			require.NoError(m.t, m.redis.Set(m.ctx, key, "alien", 0).Err())
		}
		moved, err := m.store.MoveDue(m.ctx, Look{Mover: "m0", Most: 10, Keep: 10, KeepFor: time.Hour})
		require.NoError(m.t, err)
		require.Contains(m.t, moved.Broken, m.keys.Queue("b"))
		run := m.outcome(a.hand[id], func(o *Run) { o.outcome.verb, o.outcome.args = Dead, []any{"1|0", `{"reason":"failed"}`} })
		refused, _, err := a.session.Commit(m.ctx, []*Run{run})
		require.NoError(m.t, err)
		require.Equal(m.t, map[string]string{id: "WRONGTYPE"}, refused)
		require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Tries(), id, "0|2").Err())
		m.setLease(a.name, -m.spec.Now)
		handed, err := m.store.TakeOver(m.ctx, a.name, Remains{Suspects: []string{id}})
		require.NoError(m.t, err)
		require.Equal(m.t, Handed{On: 1}, handed)
		require.Zero(m.t, m.redis.Exists(m.ctx, m.keys.Dead()).Val())
	},
	"the hook in a queue with a bound on bytes": func(m *machine) {
		m.hooks(hookOf("b"))
		m.choose(map[string]int{"queue": 1, "who": 1, "bytes": 10}, m.limit)
		m.enqueueOne(1, draft{})
		m.dies("failed")
	},
}

// foundCases are what random runs found by chance.
var foundCases = map[string]func(*machine){
	"a claim that is asked again later": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.step(m.join)
		m.step(m.claim)
		m.sleep(5)
		m.choose(map[string]int{"dead ones too": 1}, m.claimAgain)
	},
	"a task that is to be cancelled is taken over": func(m *machine) {
		m.enqueueOne(1, draft{})
		m.takeAll()
		m.choose(nil, m.cancel)
		a := m.actors[len(m.actors)-1]
		m.step(func() {
			m.setLease(a.name, -m.spec.Now)
			m.takeOverOf(a, Remains{})
		})
	},
	"the next task is due after the mover's next look": func(m *machine) {
		m.enqueueOne(1, draft{In: time.Hour})
		m.step(func() { m.dueOf(100, 100) })
	},
}

// Mistakes with the hooks of dead tasks.
var hookMutants = []mutant{
	{"burying", "  hook_in(id, record, why, at)\n", ""},
	{"burying", " or options_of(record).D then", " then"},
	{"burying", "published(hook, 'queue') or 'default'", "queue_of(line_of(record) or '')"},
	{"burying", "published(hook, 'queue') or 'default'", "published(hook, 'queue')"},
	{"burying", "redis.call('HEXISTS', key('tasks'), own) == 0 and", "true and"},
	{"burying", "'{\"m\":' .. cjson.encode(meta) .. ',\"D\":' or", "'{\"D\":' or"},
	{"burying", "local body = exists('bodies') and", "local body = false and"},
	{"burying", "  redis.call('HSET', key('bodies'), own, copy)\n", ""},
	{"burying", "  tally(queue, 'enqueued', 1)\n", ""},
	{"burying", "  weigh(queue, own, 1)\n", ""},
	{"burying", "  place(own, queue, {}, at)\n", ""},
	{"burying", "  weigh(queue, id, -1)\n", ""},
	{"burying", "return queue and not placeable(queue) and", "return queue and false and"},
	{"takeover", " and not hook_refuses(record) then", " then"},
	{"due", "(record_refuses(record) or hook_refuses(record))", "record_refuses(record)"},
	{"commit", "  if verb == 'dead' and hook_refuses(redis.call('HGET', key('tasks'), id) or '') then return 'WRONGTYPE' end\n", ""},
}
