package queue

import (
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// alienMutants are mistakes with entries that are not ours.
var alienMutants = []mutant{
	{"names", "if type(sum) == 'number' then return sum end", "if true then return sum end"},
	{"names", "  redis.call('HSET', key(name), field, int(n))\n", ""},
	{"names", "  alien(name)\n", ""},
	{"names", "digits and #digits <= 15 and tonumber(digits) or 0", "digits and tonumber(digits) or 0"},
	{"places", "time and math.abs(time) < 1e15 and time or nil", "time"},
	{"places", "if string.find(incarnation, '^[%w._:-]+#%d+:%x+$') then some", "if true then some"},
	{"endings", "    if not page then break end\n", ""},
	{"defining", "if not seen or #seen > 15 or #by > 15 then return nil end", ""},
	{"defining", "if not largest or #largest > 15 then", "if not largest then"},
	{"weigh", "if weighing(name) then", "if true then"},
	{"moving", "  if type(options.f) ~= 'table' then options.f = nil end\n", ""},
	{"moving", "options[name] = tonumber(options[name])", ""},
	{"tick", "if not last or #last > 15 then", "if not last then"},
}

// alienCases are cases as mutantCases, of entries that are not ours.
var alienCases = map[string]func(*machine){
	"counts that are no numbers": func(m *machine) {
		first := m.enqueueOne(1, draft{})
		second := m.enqueueOne(1, draft{After: []string{first}})
		c, k := m.redis, m.keys
		put := func(key, field, alien string) { require.NoError(m.t, c.HSet(m.ctx, key, field, alien).Err()) }
		put(k.Active(), "a", "alien")
		put(k.Stats(), "a|done", "1.5")
		put(k.Blocked(), second, "alien")
		put(k.Followers(), first+"|", "3")
		m.join()
		s := m.actors[0].session
		for _, id := range []string{first, second} {
			got, _, err := s.Claim(m.ctx, Ask{Want: 9, AtOnce: 9})
			require.NoError(m.t, err)
			require.Len(m.t, got, 1)
			require.Equal(m.t, id, got[0].ID)
			r := &Run{Claimed: got[0]}
			r.End(Done, nil)
			refused, _, err := s.Commit(m.ctx, []*Run{r})
			require.NoError(m.t, err)
			require.Empty(m.t, refused)
		}
		require.Equal(m.t, "2", c.HGet(m.ctx, k.Stats(), "a|done").Val())
		require.Empty(m.t, c.HGet(m.ctx, k.Active(), "a").Val())
		require.Equal(m.t, map[string]string{k.Active(): "1", k.Stats(): "1", k.Blocked(): "1"}, c.HGetAll(m.ctx, k.Aliens()).Val())
		put(k.Settings(), "a", "|1|0|0")
		put(k.Active(), "a", "99999999999999999999")
		third := []Task{NewKind("t", "a", Options{}).Task("third", NoOptions, []byte("1"))}
		require.NoError(m.t, c.HSet(m.ctx, k.Tasks(), "third", "t|a|0|\n1").Err())
		require.NoError(m.t, c.LPush(m.ctx, k.Queue("a"), third[0].ID).Err())
		got, _, err := s.Claim(m.ctx, Ask{Want: 9, AtOnce: 9})
		require.NoError(m.t, err)
		require.Len(m.t, got, 1, "the limit of the queue counts from 0")
	},
	"counts of many groups that are no numbers": func(m *machine) {
		a := m.worker()
		m.enqueueMany(2, "x")
		m.enqueueMany(1, "y")
		c, k := m.redis, m.keys
		require.NoError(m.t, c.HSet(m.ctx, k.Active(), "a/x", "alien", "a/y", "99999999999999999999").Err())
		got, _, err := a.session.Claim(m.ctx, Ask{Want: 2, AtOnce: 2})
		require.NoError(m.t, err)
		require.Len(m.t, got, 2)
		require.Equal(m.t, map[string]string{"a": "2", "a/x": "1", "a/y": "1"}, c.HGetAll(m.ctx, k.Active()).Val())
		require.Equal(m.t, map[string]string{k.Active(): "2"}, c.HGetAll(m.ctx, k.Aliens()).Val())
		require.NoError(m.t, c.Set(m.ctx, k.Refills(), "alien", 0).Err())
		err = claimScript.Run(m.ctx, c, k.TaskKeys(), a.name, 2, 1, 1, "", 1, "a").Err()
		require.ErrorContains(m.t, err, k.Refills())
	},
	"leases, times and records of something else": func(m *machine) {
		id := m.enqueueOne(1, draft{})
		c, k := m.redis, m.keys
		require.NoError(m.t, c.ZAdd(m.ctx, k.Leases(), redis.Z{Score: 1, Member: "alien"}).Err())
		require.NoError(m.t, c.Set(m.ctx, k.Owned("alien"), 1, 0).Err())
		require.NoError(m.t, c.ZAdd(m.ctx, k.Next(), redis.Z{Score: 1e300, Member: "alien"}).Err())
		moved, err := m.store.MoveDue(m.ctx, Look{Mover: "m", Most: 9, Keep: 9})
		require.NoError(m.t, err)
		require.True(m.t, moved.Responsible)
		words, err := m.store.Cancel(m.ctx, []string{id}, []byte(`{}`))
		require.NoError(m.t, err)
		require.Equal(m.t, []string{"cancelled"}, words)
		for alien, options := range map[string]string{"f": `{"f":7}`, "d": `{"d":"x","T":[]}`} {
			require.NoError(m.t, c.HSet(m.ctx, k.Tasks(), alien, "t|a|0|"+options+"\n1").Err())
			require.NoError(m.t, c.HSet(m.ctx, k.Blocked(), alien, 1).Err())
			require.NoError(m.t, c.HSet(m.ctx, k.Owned("w-9#9:00"), alien, "1|1").Err())
		}
		require.NoError(m.t, c.HSet(m.ctx, k.Tasks(), "held", "t|a|0|\n1").Err())
		require.NoError(m.t, c.HSet(m.ctx, k.Followers(), "held", "f ").Err())
		require.NoError(m.t, c.HSet(m.ctx, k.Waiting(), "held", 1).Err())
		require.NoError(m.t, c.LPush(m.ctx, k.Queue("a"), "held").Err())
		require.NoError(m.t, c.ZAdd(m.ctx, k.Leases(), redis.Z{Score: -1, Member: "w-9#9:00"}).Err())
		_, err = m.store.TakeOver(m.ctx, "w-9#9:00", Remains{Unknown: true})
		require.NoError(m.t, err)
		_, err = m.store.Delete(m.ctx, []string{"held"})
		require.NoError(m.t, err)
	},
	"definitions and ticks of something else": func(m *machine) {
		c, k := m.redis, m.keys
		require.NoError(m.t, c.HSet(m.ctx, k.TaskDefinitions(), "|", "99999999999999999999|x", "t", "99999999999999999999|99999999999999999999|{}\n1").Err())
		p := Publication{Version: "2", Definitions: map[string]Definition{"t": {Queue: "a"}}}
		_, err := m.store.Define(m.ctx, &p)
		require.NoError(m.t, err)
		require.EqualValues(m.t, 1, p.Number)
		all, _, err := m.store.Definitions(m.ctx, "")
		require.NoError(m.t, err)
		require.Equal(m.t, "2", all["t"].Version)

		require.NoError(m.t, c.HSet(m.ctx, k.Periodic(), "p", "99999999999999999999|1").Err())
		ticked, err := m.store.Tick(m.ctx, "p", Time("1"), TickFirst, Periodic{Task: "t", Queue: "a"})
		require.NoError(m.t, err)
		require.False(m.t, ticked.Paused)

		for i := range 30 { // in any order
			require.NoError(m.t, c.HSet(m.ctx, k.Weighing(), "alien"+strconv.Itoa(i), "alien", "b", "1|0").Err())
		}
		require.NoError(m.t, m.store.Weigh(m.ctx))
		require.False(m.t, c.HExists(m.ctx, k.Weighing(), "b").Val(), "it has been weighed")
	},
}
