package queue

import (
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// groupCases are about groups: their order, their bounds and what is parked.
var groupCases = map[string]func(*machine){
	"a strict group": func(m *machine) {
		a := m.limited(Limits{PerGroup: 1, Strict: true})
		x := m.enqueueMany(3, "x")
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Later, 1000, "1|0", `{}`)
		urgent := m.enqueueOne(1, draft{Group: "x", Mark: HighMark})
		require.Empty(m.t, m.take(a, 9))
		m.later(1000)
		require.Equal(m.t, "0", m.lookAt(x[0]).Position)
		require.Equal(m.t, "2", m.lookAt(x[1]).Position)
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Snooze, 1000, "1|0")
		m.later(1000)
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Done)
		require.Equal(m.t, []string{urgent}, m.take(a, 9))
		m.finish(a, []string{urgent}, Aside, 1000)
		m.later(1000)
		m.ofTask(urgent, map[string]int{}, m.cancel)
		require.Equal(m.t, x[1:2], m.take(a, 9))
		m.finish(a, x[1:2], Later, 1000, "1|0", `{}`)
		m.ofTask(x[1], map[string]int{}, m.remove)
		require.Equal(m.t, x[2:], m.take(a, 9))
		m.finish(a, x[2:], Dead, "1|0", `{"reason":"failed"}`)
		require.Empty(m.t, m.spec.Groups.Holders)
	},
	"a group that was strict": func(m *machine) {
		a := m.limited(Limits{PerGroup: 2})
		x := m.enqueueMany(4, "x")
		require.Equal(m.t, x[:2], m.take(a, 9))
		m.step(func() { m.limitAs("a", "operator", &Limits{PerGroup: 1, Strict: true}) })
		m.finish(a, x[:1], Later, 1000, "1|0", `{}`)
		m.finish(a, x[1:2], Later, 2000, "1|0", `{}`)
		m.later(1000)
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.finish(a, x[:1], Done)
		require.Empty(m.t, m.take(a, 9))
		m.step(func() { m.limitAs("a", "operator", &Limits{}) })
		require.Equal(m.t, x[2:], m.take(a, 9))
	},
	"a group that nobody has offered its turn": func(m *machine) {
		a := m.worker()
		ids := m.enqueueMany(1, "x")
		m.spec.Groups.Turns["a"]["x"] = stopped
		require.NoError(m.t, m.redis.ZAdd(m.ctx, m.keys.Groups("a"), redis.Z{Score: stopped, Member: "x"}).Err())
		require.Empty(m.t, m.take(a, 9))
		m.visit(VisitReady)
		require.Equal(m.t, ids, m.take(a, 9))
	},
	"a paused group goes on": func(m *machine) {
		a := m.worker()
		m.step(func() { m.haltAs("a", "x", true) })
		ids := m.enqueueMany(1, "x")
		require.Empty(m.t, m.take(a, 9))
		require.True(m.t, a.session.idle)
		m.step(func() { m.haltAs("a", "x", false) })
		require.Empty(m.t, m.spec.Idle["a"])
		require.Equal(m.t, ids, m.take(a, 9))
	},
	"no more of a group than may, in several rounds": func(m *machine) {
		a := m.limited(Limits{PerGroup: 2})
		x, y, z := m.enqueueMany(5, "x"), m.enqueueMany(1, "y"), m.enqueueMany(1, "z")
		require.Equal(m.t, []string{x[0], y[0], z[0], x[1]}, m.take(a, 5))
	},
	"large tasks of groups": func(m *machine) {
		a := m.worker()
		large := strings.Repeat("x", 600<<10)
		var ids []string
		for _, group := range []string{"x", "y", "z"} {
			ids = append(ids, m.enqueueOne(large, draft{Group: group}))
		}
		for _, want := range [][]string{ids[:2], ids[2:]} {
			got, _, err := a.session.Claim(m.ctx, Ask{Want: 9, AtOnce: 9})
			require.NoError(m.t, err)
			var came []string
			for _, c := range got {
				came = append(came, c.ID)
			}
			require.Equal(m.t, want, came)
		}
		counts, err := m.redis.HGetAll(m.ctx, m.keys.Active()).Result()
		require.NoError(m.t, err)
		require.Equal(m.t, map[string]string{"a": "3", "a/x": "1", "a/y": "1", "a/z": "1"}, counts)
	},
	"a line of a group that is something else's": func(m *machine) {
		a := m.worker()
		ids := m.enqueueMany(1, "x")
		require.NoError(m.t, m.redis.Rename(m.ctx, m.keys.Queue("a/x"), "aside").Err())
		require.NoError(m.t, m.redis.Set(m.ctx, m.keys.Queue("a/x"), "alien", 0).Err())
		got, _, err := a.session.Claim(m.ctx, Ask{Want: 9, AtOnce: 9})
		require.NoError(m.t, err)
		require.Empty(m.t, got)
		require.NoError(m.t, m.redis.Rename(m.ctx, "aside", m.keys.Queue("a/x")).Err())
		_, err = m.store.MoveDue(m.ctx, Look{Mover: "m0", Visit: VisitReady, Most: 9, KeepFor: time.Minute, Keep: 9})
		require.NoError(m.t, err)
		got, _, err = a.session.Claim(m.ctx, Ask{Want: 9, AtOnce: 9})
		require.NoError(m.t, err)
		require.Equal(m.t, ids[0], got[0].ID)
	},
	"groups take turns": func(m *machine) {
		a := m.worker()
		x, y, none := m.enqueueMany(9, "x"), m.enqueueMany(2, "y"), m.enqueueMany(2, "")
		require.Equal(m.t, []string{x[0], y[0]}, m.take(a, 2))
		require.Equal(m.t, none[:1], m.take(a, 1))
		require.Equal(m.t, []string{x[1], y[1], none[1]}, m.take(a, 3))
		require.Equal(m.t, x[2:7], m.take(a, 5))
		m.enqueueMany(1, "y")
		require.Equal(m.t, "x", m.spec.round("a", 1)[0])
	},
	"a bound for each group": func(m *machine) {
		a := m.limited(Limits{PerGroup: 2})
		x, y := m.enqueueMany(5, "x"), m.enqueueMany(1, "y")
		require.Equal(m.t, []string{x[0], x[1], y[0]}, m.take(a, 9))
		m.finish(a, x[:1], Done)
		require.Equal(m.t, x[2:3], m.take(a, 9))
		b := m.worker()
		m.step(func() { m.setLease(a.name, -m.spec.Now); m.takeOverOf(a, Remains{}) })
		require.ElementsMatch(m.t, []string{x[1], x[2], y[0]}, m.take(b, 9))
		m.step(func() { m.limitAs("a", "operator", &Limits{PerGroup: 3}) })
		require.Len(m.t, m.take(b, 9), 1)
	},
	"tasks of a group are taken over in their order": func(m *machine) {
		a, b := m.worker(), m.worker()
		x := m.enqueueMany(6, "x")
		m.sleep(1)
		x = append(x, m.enqueueMany(6, "x")...)
		m.sleep(1)
		last := m.enqueueMany(2, "x")
		require.Equal(m.t, x, m.take(a, 12))
		m.step(func() { m.setLease(a.name, -m.spec.Now); m.takeOverOf(a, Remains{}) })
		require.Equal(m.t, append(x, last...), m.take(b, 14))
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
	"a queue that is deleted leaves nothing of its groups": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1, time.Second, 1}, GroupRate: Rate{1, time.Second, 1}})
		x := m.enqueueMany(2, "x")
		m.take(a, 9)
		m.step(func() { m.haltAs("a", "x", true) })
		m.finish(a, x[:1], Throttle, 10)
		none := m.enqueueMany(1, "")
		m.later(1500)
		m.take(a, 9)
		m.finish(a, none, Throttle, 60000)
		m.step(func() { m.limitAs("a", "reset", &Limits{}) })
		m.choose(map[string]int{}, m.clear)
		m.later(10000)
		require.Empty(m.t, m.spec.Groups.Halted)
		require.Empty(m.t, m.spec.Groups.Rates)
	},
}
