package queue

import (
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// parkedMutants are mistakes with parked tasks of queues with groups.
var parkedMutants = []mutant{
	{"claim", "  if unready[queue] then return end\n", ""},
	{"claim", "redis.call('LPOP', list, 200)", "redis.call('RPOP', list, 200)"},
	{"claim", "if not settings(queue).special then draw(queue, list, true) elseif not draw_parked(queue, 'parked:' .. ARGV[i]) then unready[queue] = true end", "draw(queue, list, true)"},
	{"claim", "  if room(queue) ~= 0 then confine() end\n", ""},
	{"claim", "t.allowances(queue, {party}, true)[1] - (hands[party] or 0) end", "t.allowances(queue, {party}, true)[1] end"},
	{"claim", "t.allowances(queue, {party}, true)[1] -", "t.allowances(queue, {party})[1] -"},
	{"claim", "not t.held(party) or", "true or"},
	{"claim", " or redis.call('HEXISTS', key('holders'), got[i]) == 1", ""},
	{"claim", "begin[#begin + 1], may[party] = got[i], may[party] - 1", "begin[#begin + 1] = got[i]"},
	{"claim", "left, some = left or took < #begin,", "some ="},
	{"claim", "if limit then n = math.min(n, limit - (hands[queue] or 0)) end", "if limit then n = math.min(n, limit) end"},
	{"claim", "if (places[i] or math.huge) > took then", "if not places[i] then"},
	{"claim", "  for i = 1, #stay / 2 do stay[i], stay[#stay + 1 - i] = stay[#stay + 1 - i], stay[i] end\n", ""},
	{"claim", "  return not left and (whole or unpark(list))\n", "  return not left\n"},
	{"claim", "  return not left and (whole or unpark(list))\n", "  return whole or unpark(list)\n"},
	{"claim", "string.match(record, '^[^|\\n]*|([^|\\n]*)|') or queue, 1) end) or 0", "queue, 1) end) or 0"},
	{"turns", "      if exists('parked') then offer_parked(queue) end\n      return", "      return"},
	{"turns", "    if exists('parked') then offer_parked(queue) end\n    if not stops", "    if not stops"},
	{"turns", "if not stops and not exists('parked') or", "if not stops or"},
}

// parkedCases are about parked tasks of groups.
var parkedCases = map[string]func(*machine){
	"parked tasks of groups are not claimed ahead": func(m *machine) {
		a := m.limited(Limits{PerGroup: 9})
		for range 3 {
			id := m.enqueueOne(1, draft{Group: "x", Name: "u"})
			m.take(a, 1)
			m.finish(a, []string{id}, Park, "u")
		}
		a.session.cfg.Handles = func(string) bool { return true }
		require.Empty(m.t, m.take(a, 9), "it learns of them")
		m.step(func() {
			got, _ := m.claimAsking(a, a.session, 3, 1)
			require.Len(m.t, got, 1)
		})
	},
	"parked tasks are offered when they may begin": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1, Rate: Rate{1, time.Second, 2}})
		x := []string{m.enqueueOne(1, draft{Group: "x", Name: "u"}), m.enqueueOne(1, draft{Group: "x", Name: "u"})}
		for _, id := range x {
			require.Equal(m.t, []string{id}, m.take(a, 1))
			m.finish(a, []string{id}, Park, "u")
		}
		a.session.cfg.Handles = func(string) bool { return true }
		m.take(a, 9) // learns of them
		wakes := func(f func()) {
			sub := m.redis.Subscribe(m.ctx, m.keys.Wake(a.name))
			defer sub.Close()
			_, err := sub.Receive(m.ctx)
			require.NoError(m.t, err)
			f()
			_, err = sub.ReceiveTimeout(m.ctx, time.Second)
			require.NoError(m.t, err)
		}
		require.Empty(m.t, m.take(a, 9), "no token is left")
		wakes(func() { m.later(1000) })
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.later(1000)
		require.Empty(m.t, m.take(a, 9), "one runs")
		wakes(func() { m.finish(a, x[:1], Done) })
		require.Equal(m.t, x[1:], m.take(a, 9))
	},
	"a parked task of a group": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1})
		id, other := m.enqueueOne(1, draft{Group: "x", Name: "u"}), m.enqueueOne(1, draft{Group: "x", Name: "u"})
		for _, id := range []string{id, other} {
			m.take(a, 1)
			m.finish(a, []string{id}, Park, "u")
		}
		m.visit(VisitFirst)
		a.session.cfg.Handles = func(string) bool { return true }
		m.take(a, 9) // learns of them
		require.Equal(m.t, []string{id}, m.take(a, 9))
		m.finish(a, []string{id}, Done)
		require.Equal(m.t, []string{other}, m.take(a, 9))
	},
	"a task of a group is parked when nothing else is left of groups": func(m *machine) {
		a := m.worker()
		id := m.enqueueOne(0, draft{Group: "x", Name: "u"})
		require.Equal(m.t, []string{id}, m.take(a, 1))
		m.visit(VisitFirst) // forgets that the queue has groups
		m.finish(a, []string{id}, Park, "u")
	},
	"parked tasks that get a group": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1})
		ids := []string{m.enqueueOne(1, draft{Name: "u"}), m.enqueueOne(1, draft{Name: "u"})}
		m.take(a, 2)
		m.finish(a, ids, Park, "u")
		for _, id := range ids {
			m.step(func() { m.editAs(id, edition{"", "x", "=", "", false}) })
		}
		a.session.cfg.Handles = func(string) bool { return true }
		m.take(a, 9) // learns of them
		require.Equal(m.t, ids[:1], m.take(a, 9))
	},
	"parked tasks of groups within the bounds of their queue and holds": func(m *machine) {
		a, b := m.limited(Limits{}), m.worker()
		park := func(d draft) string {
			d.Name = "u"
			id := m.enqueueOne(1, d)
			require.Equal(m.t, []string{id}, m.take(b, 1))
			m.finish(b, []string{id}, Park, "u")
			return id
		}
		h := m.enqueueOne(1, draft{Group: "h"})
		m.take(b, 1)
		held := park(draft{Group: "h"})
		x := []string{park(draft{Group: "x"}), park(draft{Group: "x"}), park(draft{Group: "x"}), park(draft{Group: "x"})}
		y := park(draft{Group: "y"})
		m.step(func() { m.limitAs("a", "operator", &Limits{PerGroup: 1, Strict: true, Concurrency: 1}) })
		m.finish(b, []string{h}, Later, 1000, "1|0", `{}`)
		a.session.cfg.Handles = func(string) bool { return true }
		require.Empty(m.t, m.take(a, 9)) // learns of them
		require.Equal(m.t, x[:1], m.take(a, 9), "the first group is held, and the queue has one place")
		m.finish(a, x[:1], Done)
		require.Equal(m.t, x[1:2], m.take(a, 1))
		m.step(func() { m.limitAs("a", "operator", &Limits{}) })
		require.Equal(m.t, []string{held}, m.take(a, 1), "the others stay where they are")
		require.Equal(m.t, []string{x[2], x[3], y}, m.take(a, 9))
	},
	"large parked tasks of groups come in several replies": func(m *machine) {
		a, b := m.limited(Limits{PerGroup: 9}), m.worker()
		var x []string
		for range 4 {
			x = append(x, m.enqueueOne(strings.Repeat("x", 400<<10), draft{Group: "x", Name: "u"}))
			m.take(b, 1)
			m.finish(b, x[len(x)-1:], Park, "u")
		}
		a.session.cfg.Handles = func(string) bool { return true }
		require.Empty(m.t, m.take(a, 9)) // learns of them
		for _, want := range [][]string{x[:3], x[3:]} {
			got, _, err := a.session.Claim(m.ctx, Ask{Want: 9, AtOnce: 9})
			require.NoError(m.t, err)
			var came []string
			for _, c := range got {
				came = append(came, c.ID)
			}
			require.Equal(m.t, want, came)
		}
	},
	"many parked tasks that may not begin": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1})
		var x []string
		for range 5 {
			some := m.ready(slices.Repeat([]draft{{Queue: "a", Group: "x", Name: "u", Payload: 1}}, 450)...)
			m.step(func() { m.sendNew("p0", some) })
			for _, t := range some {
				x = append(x, t.ID)
			}
		}
		m.step(func() { m.limitAs("a", "operator", &Limits{}) })
		for len(m.spec.Parked["a|u"]) < len(x) {
			m.finish(a, m.take(a, 400), Park, "u")
		}
		y := m.enqueueOne(1, draft{Group: "y", Name: "u"})
		m.take(a, 1)
		m.finish(a, []string{y}, Park, "u")
		m.step(func() { m.limitAs("a", "operator", &Limits{PerGroup: 1}) })
		a.session.cfg.Handles = func(string) bool { return true }
		m.take(a, 9) // learns of them
		last := m.enqueueOne(1, draft{Group: "x"})
		claim := func(want ...string) {
			got, _, err := a.session.Claim(m.ctx, Ask{Want: 9, AtOnce: 9})
			require.NoError(m.t, err)
			var ids []string
			for _, c := range got {
				ids = append(ids, c.ID)
				r := &Run{Claimed: c}
				if r.End(Done, nil); c.ID == y {
					_, _, err = a.session.Commit(m.ctx, []*Run{r})
					require.NoError(m.t, err)
				}
			}
			require.Equal(m.t, want, ids)
		}
		claim(x[0]) // behind it are more than it looks at: some come back
		claim(y)
		claim()
		require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Active(), "a/x", 0).Err())
		claim(x[1])
		line, err := m.redis.LRange(m.ctx, m.keys.Queue("a/x"), 0, 1).Result()
		require.NoError(m.t, err)
		require.Equal(m.t, []string{last, x[len(x)-1]}, line, "they come back before those that have come since")
	},
	"a parked task that holds its group": func(m *machine) {
		a, b := m.limited(Limits{PerGroup: 1, Strict: true}), m.worker()
		x := []string{m.enqueueOne(1, draft{Group: "x", Name: "u"}), m.enqueueOne(1, draft{Group: "x", Name: "u"})}
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Later, 1000, "1|0", `{}`)
		m.later(1000)
		require.Equal(m.t, x[:1], m.take(b, 9))
		m.finish(b, x[:1], Park, "u")
		a.session.cfg.Handles = func(string) bool { return true }
		require.Empty(m.t, m.take(a, 9)) // learns of it
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Done)
		require.Equal(m.t, x[1:], m.take(a, 9))
	},
	"parked tasks begin by their names": func(m *machine) {
		a, b := m.limited(Limits{PerGroup: 1}), m.worker()
		park := func(d draft) string {
			id := m.enqueueOne(1, d)
			require.Equal(m.t, []string{id}, m.take(b, 1))
			m.finish(b, []string{id}, Park, "u")
			return id
		}
		x := []string{park(draft{Group: "x", Name: "u"}), park(draft{Group: "x", Name: "u"})}
		y, none := park(draft{Group: "y", Name: "u"}), park(draft{Name: "u"})
		a.session.cfg.Handles = func(string) bool { return true }
		require.Empty(m.t, m.take(a, 9)) // learns of them
		x = append(x, m.enqueueOne(1, draft{Group: "x", Name: "u"}))
		require.Equal(m.t, []string{x[0], y, none}, m.take(a, 9))
		require.Empty(m.t, m.take(b, 9), "nothing came back to the lines")
		m.finish(a, x[:1], Done)
		require.Equal(m.t, x[1:2], m.take(a, 9))
		m.finish(a, x[1:2], Done)
		require.Equal(m.t, x[2:], m.take(a, 9))
	},
}
