package queue

import (
	"time"

	"github.com/stretchr/testify/require"
)

// rateCases are about rates, and about limits that change.
var rateCases = map[string]func(*machine){
	"a rate of a queue": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{3, time.Second, 1}})
		ids := m.enqueueMany(6, "")
		require.Equal(m.t, ids[:1], m.take(a, 4))
		m.later(333)
		require.Empty(m.t, m.take(a, 4))
		m.later(1)
		require.Equal(m.t, ids[1:2], m.take(a, 4))
		m.later(5000)
		require.Equal(m.t, ids[2:3], m.take(a, 4), "no more than one at once")
		m.sleep(-60000)
		require.Empty(m.t, m.take(a, 4))
		m.later(334)
		require.Equal(m.t, ids[3:4], m.take(a, 4), "the clock was ahead")
	},
	"tasks with a rate are not claimed ahead": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1, time.Second, 9}})
		m.enqueueMany(5, "")
		m.step(func() {
			got, _ := m.claimAsking(a, a.session, 5, 2)
			require.Len(m.t, got, 2)
		})
	},
	"a rate that changes while its groups have no tasks": func(m *machine) {
		a := m.limited(Limits{GroupRate: Rate{1, time.Second, 2}})
		x := m.enqueueMany(2, "x")
		require.Equal(m.t, x, m.take(a, 9))
		m.finish(a, x, Done)
		m.visit(VisitFirst) // forgets that the queue has groups
		require.False(m.t, m.spec.Groups.Special["a"])
		m.step(func() { m.limitAs("a", "operator", &Limits{GroupRate: Rate{1, 10 * time.Second, 2}}) })
		x = m.enqueueMany(1, "x")
		require.Empty(m.t, m.take(a, 9), "what it has spent stays spent")
		m.later(9999)
		require.Empty(m.t, m.take(a, 9))
		m.later(1)
		require.Equal(m.t, x, m.take(a, 9))
	},
	"a rate that changes": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1, time.Second, 4}, GroupRate: Rate{1, time.Second, 2}})
		ids, x := m.enqueueMany(9, ""), m.enqueueMany(9, "x")
		require.Len(m.t, m.take(a, 9), 4)
		for _, paused := range []bool{true, false} {
			m.step(func() { m.pauseAs("a", paused) })
		}
		require.Empty(m.t, m.take(a, 9), "its tokens are spent")
		limit := func(rate, group Rate) {
			m.step(func() { m.limitAs("a", "operator", &Limits{Rate: rate, GroupRate: group}) })
		}
		limit(Rate{1, 10 * time.Second, 4}, Rate{1, 10 * time.Second, 2})
		require.Empty(m.t, m.take(a, 9))
		m.later(9999)
		require.Empty(m.t, m.take(a, 9))
		limit(Rate{1, 100 * time.Millisecond, 4}, Rate{1, 10 * time.Second, 2})
		m.later(1)
		require.Len(m.t, m.take(a, 9), 1)
		limit(Rate{}, Rate{1, 10 * time.Second, 2})
		require.Len(m.t, m.take(a, 20), 7, "of group x as many as may")
		limit(Rate{}, Rate{1, 20 * time.Second, 2})
		require.Empty(m.t, m.take(a, 20))
		limit(Rate{}, Rate{1, time.Second, 2})
		m.later(1000)
		require.Len(m.t, m.take(a, 20), 1)
		m.step(func() { m.sleep(5000) })
		m.step(func() { m.renew(a) })
		limit(Rate{}, Rate{1, 2 * time.Second, 2})
		limit(Rate{}, Rate{})
		m.take(a, 20)
		require.Len(m.t, a.hand, len(ids)+len(x))
		require.Empty(m.t, m.spec.Groups.Rates)
	},
	"a rate with a burst": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1000, time.Second, 3}, Concurrency: 9})
		ids := m.enqueueMany(9, "")
		require.Equal(m.t, ids[:3], m.take(a, 9))
		m.later(2)
		require.Equal(m.t, ids[3:5], m.take(a, 9))
		m.later(9)
		require.Equal(m.t, ids[5:8], m.take(a, 9))
	},
	"a rate of groups": func(m *machine) {
		a := m.limited(Limits{GroupRate: Rate{1, time.Second, 2}})
		x, y := m.enqueueMany(4, "x"), m.enqueueMany(1, "y")
		require.Equal(m.t, []string{x[0], x[1], y[0]}, m.take(a, 9))
		m.later(999)
		require.Empty(m.t, m.take(a, 9))
		m.later(1)
		require.Equal(m.t, x[2:3], m.take(a, 9))
		m.later(3000)
		m.haltAs("a", "x", true)
		m.step(func() { m.haltAs("a", "x", false) })
		require.Equal(m.t, x[3:], m.take(a, 9))
	},
	"a queue rests": func(m *machine) {
		a := m.worker()
		ids := m.enqueueMany(3, "")
		require.Len(m.t, m.take(a, 1), 1)
		idle := m.worker()
		m.enqueueMany(1, "")
		m.take(idle, 9)
		m.take(idle, 9)
		require.True(m.t, idle.session.idle)
		m.finish(a, ids[:1], Throttle, 1000)
		require.Empty(m.t, m.take(a, 9))
		m.step(func() { m.pauseAs("a", false) })
		require.Equal(m.t, ids[:1], m.take(a, 9))
		m.take(idle, 9)
		m.finish(a, ids[:1], Throttle, 1000)
		m.visit(VisitFirst)
		m.later(999)
		require.Empty(m.t, m.take(a, 9))
		m.later(1)
		require.Equal(m.t, ids[:1], m.take(a, 9))
		m.finish(a, ids[:1], Throttle, 1000)
		m.sleep(1) // it rests for longer already
		m.step(func() { m.setLease(idle.name, m.spec.Now+15000) })
		m.finish(idle, ids[1:2], Throttle, 10)
		m.later(500)
		require.Empty(m.t, m.take(a, 9))
		m.later(500)
		require.Len(m.t, m.take(a, 9), 2)
		m.visit(VisitFirst)
	},
	"a group rests": func(m *machine) {
		a := m.worker()
		x, y := m.enqueueMany(2, "x"), m.enqueueMany(2, "y")
		require.Equal(m.t, []string{x[0], y[0]}, m.take(a, 2))
		m.finish(a, x[:1], Throttle, 1000)
		require.Equal(m.t, y[1:], m.take(a, 9))
		m.later(1000)
		require.Equal(m.t, x, m.take(a, 9))
		m.finish(a, x[:1], Throttle, 1000)
		m.step(func() { m.haltAs("a", "x", false) })
		require.Equal(m.t, x[:1], m.take(a, 9))
		m.visit(VisitFirst)
		m.visit(VisitFirst)
	},
	"a queue with a rate has fewer places than tokens": func(m *machine) {
		a := m.limited(Limits{Rate: Rate{1000, time.Second, 9}, Concurrency: 2})
		m.enqueueMany(5, "")
		require.Len(m.t, m.take(a, 9), 2)
	},
	"the movers are told of a rest": func(m *machine) {
		a := m.worker()
		sub := m.redis.Subscribe(m.ctx, m.keys.Due())
		defer func() { _ = sub.Close() }()
		_, err := sub.Receive(m.ctx)
		require.NoError(m.t, err)
		ids := m.enqueueMany(1, "")
		m.take(a, 1)
		m.finish(a, ids, Throttle, 1000)
		message, err := sub.ReceiveTimeout(m.ctx, time.Second)
		require.NoError(m.t, err, "%v", message)
	},
	"limits of an operator and of a program": func(m *machine) {
		for _, step := range []struct {
			verb string
			l    *Limits
		}{{"program", &Limits{Concurrency: 1}}, {"operator", &Limits{Concurrency: 2}}, {"reset", &Limits{}}, {"reset", &Limits{}}} {
			m.step(func() { m.limitAs("a", step.verb, step.l) })
		}
	},
	"limits of an older program": func(m *machine) {
		a := m.worker()
		require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.Settings(), "a", "|3|0|0", "a|program", "3|0|0").Err())
		m.store.OnEnd = nil
		id := m.ready(draft{Queue: "a", Group: "x", Payload: 1})[0]
		_, err := m.try(m.senders["p0"].producer, &batch{number: 1, parts: []*submission{{
			ctx: m.ctx, caller: m.senders["p0"].producer.Caller(m.ctx, errClosed), tasks: []Task{id}, done: make(chan struct{}),
		}}}, nil, nil)
		require.NoError(m.t, err)
		require.Equal(m.t, "|3|0|0|0||||1", m.redis.HGet(m.ctx, m.keys.Settings(), "a").Val())
		got, _, err := a.session.Claim(m.ctx, Ask{Want: 1, AtOnce: 1})
		require.NoError(m.t, err)
		require.Len(m.t, got, 1)
		set, err := m.store.SetQueue(m.ctx, "a", "pause", "")
		require.NoError(m.t, err)
		require.Equal(m.t, Settings{Paused: true, Limits: Limits{Concurrency: 3}}, set)
	},
}
