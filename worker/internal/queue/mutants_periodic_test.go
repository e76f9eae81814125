package queue

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
		m.step(func() { m.registerAs("s") })
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
	{"setperiodic", "if registered(name, at) then return {'OWNED'} end", ""},
	{"setperiodic", "if not last or not same then", "if not last then"},
	{"setperiodic", "if not last or not same then", "if true then"},
	{"setperiodic", "(new or '0')", "(new or '')"},
	{"setperiodic", "(paused or '')", "''"},
	{"setperiodic", "redis.call('HSET', key('periodic:set'), name, definition)\n", ""},
	{"setperiodic", "redis.call('HSET', key('periodic:definitions'), name, definition)\n", ""},
	{"tick", " or registered(name, at)) then return", ") then return"},
	{"tick", "(redis.call('HGET', key('periodic:set'), name) ~= ARGV[4] or", "(false or"},
	{"tick", "lines > 20 do", "lines > 21 do"},
	{"tick", "left_out == '' and #add(group, at, false) == 0", "#add(group, at, false) == 0"},
	{"tick", "runs and 'duplicate' or 'missed'", "'missed'"},
	{"tick", "paused ~= '' and 'paused' or", ""},
	{"pause", "  redis.call('HDEL', key('periodic:set'), ARGV[1])\n", ""},
	{"pause", "  redis.call('HDEL', key('periodic:history'), ARGV[1])\n", ""},
}
