package queue

import (
	"time"

	"github.com/stretchr/testify/require"
)

// setCases are periodic tasks that were set at run time.
var setCases = map[string]func(*machine){
	"a periodic task that is set, changed, taken by a program and removed": func(m *machine) {
		every := func(schedule string) Periodic {
			return Periodic{Task: "t", Queue: "a", Schedule: schedule, Payload: []byte("1")}
		}
		set := func(schedule string) { m.step(func() { m.setAs("s", every(schedule)) }) }
		tick := func(schedule string) {
			p := every(schedule)
			p.Text = p.String()
			m.step(func() { m.tickOf("s", m.spec.Now, TickRun, p) })
		}
		set("every 1s")
		m.sleep(1000)
		tick("every 1s")
		m.sleep(1000)
		set("every 1s") // goes on from the last tick
		tick("every 2s")
		m.sleep(1000)
		set("every 2s") // ticks from now on
		tick("every 1s")
		m.step(func() { m.pausePeriodic("s", "1") })
		m.sleep(1000)
		tick("every 2s")
		set("every 1s") // stays paused
		m.step(func() { m.pausePeriodic("s", "") })
		set("every 1s")
		m.step(func() { m.registerAs("", "s") })
		m.sleep(1000)
		tick("every 1s")
		set("every 3s")
		m.sleep(-2000)
		tick("every 1s")
		m.sleep(62000)
		tick("every 1s")
		set("every 3s")
		m.step(func() { m.pausePeriodic("s", "remove") })
		tick("every 3s")
	},
	"programs that register a periodic task come and go": func(m *machine) {
		every := Periodic{Task: "t", Queue: "a", Schedule: "every 1s", Payload: []byte("1")}
		set := func(name string) { m.step(func() { m.setAs(name, every) }) }
		register := func(program string) { m.step(func() { m.registerAs(program, "s", "ss") }) }
		set("s")
		register("gone")
		set("s") // it has ended
		register(runningProgram)
		set("s")
		set("ss")
		set("sss") // another name
		m.sleep(61000)
		set("s")
		register("") // an older one runs, and the others are no more than names
		m.step(func() { m.registerAs("gone", "ss") })
		set("s")
		register("gone")
		set("s")
		register(runningProgram)
		set("s")
		m.sleep(-61000)
		set("s")
	},
	"limits and defaults that somebody else set meanwhile": func(m *machine) {
		m.store.OnEnd = nil
		var seen []int
		limits, err := m.store.ChangeLimits(m.ctx, "a", func(l *Limits) error {
			if seen = append(seen, l.Concurrency); len(seen) == 1 {
				_, err := m.store.SetQueue(m.ctx, "a", "operator", Limits{Concurrency: 3}.String())
				require.NoError(m.t, err)
			}
			l.Tasks = 7
			return nil
		})
		require.NoError(m.t, err)
		require.Equal(m.t, []int{0, 3}, seen)
		require.Equal(m.t, Limits{Concurrency: 3, Tasks: 7}, limits.Limits)

		seen = nil
		set := func(d Defaults) { require.NoError(m.t, m.store.SetDefaults(m.ctx, "a", d)) }
		set(Defaults{Timeout: 1})
		now, err := m.store.ChangeDefaults(m.ctx, "a", func(d *Defaults) error {
			if seen = append(seen, d.MaxAttempts); len(seen) == 1 {
				set(Defaults{MaxAttempts: 3})
			}
			d.Retention = 7
			return nil
		})
		require.NoError(m.t, err)
		require.Equal(m.t, []int{0, 3}, seen)
		require.Equal(m.t, Defaults{MaxAttempts: 3, Retention: 7}, now)
		got, err := m.store.DefaultsOf(m.ctx, "a")
		require.NoError(m.t, err)
		require.Equal(m.t, now, got)
		set(Defaults{})
		require.Zero(m.t, m.redis.Exists(m.ctx, m.keys.QueueDefaults()).Val())
		require.True(m.t, m.redis.SIsMember(m.ctx, m.keys.Queues(), "a").Val())

		require.NoError(m.t, m.redis.HSet(m.ctx, m.keys.QueueDefaults(), "b", "not ours").Err())
		now, err = m.store.ChangeDefaults(m.ctx, "b", func(d *Defaults) error { d.Retention = 7; return nil })
		require.NoError(m.t, err)
		require.Equal(m.t, Defaults{Retention: 7}, now)
		require.True(m.t, m.redis.SIsMember(m.ctx, m.keys.Queues(), "b").Val(), "it is listed")
		require.NoError(m.t, m.redis.Set(m.ctx, m.keys.Queues(), "a text", 0).Err())
		require.ErrorContains(m.t, m.store.SetDefaults(m.ctx, "b", Defaults{Retention: 8}), "belongs to something else")
		got, err = m.store.DefaultsOf(m.ctx, "b")
		require.NoError(m.t, err)
		require.Equal(m.t, now, got)
	},
	"all nodes are told of defaults": func(m *machine) {
		sub := m.redis.Subscribe(m.ctx, m.keys.Set())
		defer func() { _ = sub.Close() }()
		_, err := sub.Receive(m.ctx)
		require.NoError(m.t, err)
		require.NoError(m.t, m.store.SetDefaults(m.ctx, "a", Defaults{Timeout: 1}))
		message, err := sub.ReceiveTimeout(m.ctx, time.Second)
		require.NoError(m.t, err, "%v", message)
	},
	"more ticks than are remembered": func(m *machine) {
		for i := range 25 {
			m.sleep(1000)
			m.step(func() { m.tickAs("p", "a", m.spec.Now, []string{TickRun, TickSkip}[i%2]) })
		}
		m.sleep(1000)
		m.enqueueOne(1, draft{ID: "p:1800000026000"})
		m.step(func() { m.tickAs("p", "a", m.spec.Now, TickRun) })
	},
}

// Mistakes with these.
var setMutants = []mutant{
	{"registering", "return seen and math.abs(at - seen) <= 60000", "return seen and at - seen <= 60000 and at >= seen"},
	{"registering", "return seen and math.abs(at - seen) <= 60000", "return seen and true"},
	{"registering", "return seen and math.abs(at - seen) <= 60000", "return false"},
	{"registering", "if not recent(redis.call('HGET', key('periodic:registered'), name)) then return false end", ""},
	{"registering", "if recent(seen) and string.find", "if string.find"},
	{"registering", "' ' .. names .. ' ', ' ' .. name .. ' '", "names, name"},
	{"registering", "if redis.call('PUBLISH', channel('program:' .. programs[i]), '') > 0 then return true end\n", ""},
	{"registering", "'') > 0 then return true end", "'') >= 0 then return true end"},
	{"registering", "      older = false\n", ""},
	{"setperiodic", "if registered(name, at) then return {'OWNED'} end", ""},
	{"setperiodic", "if not last or not same then", "if not last then"},
	{"setperiodic", "if not last or not same then", "if true then"},
	{"setperiodic", "(new or '0')", "(new or '')"},
	{"setperiodic", "(paused or '')", "''"},
	{"setperiodic", "redis.call('HSET', key('periodic:set'), name, definition)\n", ""},
	{"setperiodic", "redis.call('HSET', key('periodic:definitions'), name, definition)\n", ""},
	{"queue", "if verb == 'operator' and ARGV[4] ~= '' and ARGV[4] ~= limits() then", "if false then"},
	{"queue", "ARGV[4] ~= '' and ARGV[4] ~= limits()", "ARGV[4] ~= limits()"},
	{"defaults", "if ARGV[3] ~= '' and ARGV[3] ~= '=' .. there then", "if false then"},
	{"defaults", "ARGV[3] ~= '' and ARGV[3] ~=", "ARGV[3] ~="},
	{"defaults", "  redis.call('HDEL', key('defaults'), queue)\n", ""},
	{"defaults", "  known(queue)\n", ""},
	{"defaults", "redis.call('PUBLISH', channel('set'), '')\n", ""},
	{"defaults", "if mistyped then return {'WRONGTYPE', mistyped} end\n", ""},
	{"tick", " or registered(name, at)) then return", ") then return"},
	{"tick", "(redis.call('HGET', key('periodic:set'), name) ~= ARGV[4] or", "(false or"},
	{"tick", "lines > 20 do", "lines > 21 do"},
	{"tick", "left_out == '' and #add(group, at, false) == 0", "#add(group, at, false) == 0"},
	{"tick", "runs and 'duplicate' or 'missed'", "'missed'"},
	{"tick", "paused ~= '' and 'paused' or", ""},
	{"pause", "  redis.call('HDEL', key('periodic:set'), ARGV[1])\n", ""},
	{"pause", "  redis.call('HDEL', key('periodic:history'), ARGV[1])\n", ""},
}
