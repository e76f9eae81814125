package internal_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/tasks"
)

// aliens are values that nobody of us writes.
var aliens = []string{
	"", "alien", "|", "||||", "\n", "a|b\nc", "-1", "1.5", "1e400", "nan", "0", "1|1", "99999999999999999999|1", "99999999999999999999",
	"{", "null", "7", `"text"`, "[]", `{"layout":{},"lease":"x"}`, "a#1:\xff", "a#b", "#", "a#99999999999999999999:aa", "a#1:aa\n\n\n{",
	"a#1:aa\nx\nrunning\n[]", "default", "\x00\xff",
}

// scores are some of aliens in sorted sets.
var scores = []float64{math.Inf(-1), -1e300, -1.5, 0, 0.5, 1, 1e13 + 0.5, 1e300, math.Inf(1)}

// spoil adds aliens to a key of that type.
func spoil(ctx context.Context, c *redis.Client, key, kind string) error {
	p := c.Pipeline()
	for i, alien := range aliens {
		switch kind {
		case "hash":
			p.HSet(ctx, key, alien, aliens[(i+5)%len(aliens)], fmt.Sprint("alien-", i), alien)
		case "set":
			p.SAdd(ctx, key, alien)
		case "list":
			p.LPush(ctx, key, alien)
		case "zset":
			p.ZAdd(ctx, key, redis.Z{Score: scores[i%len(scores)], Member: alien})
		}
	}
	if kind == "zset" { // more than any batch has, and first in the order of a look
		for i := range 300 {
			p.ZAdd(ctx, key, redis.Z{Score: float64(i + 1), Member: fmt.Sprint("alien-", i)})
		}
	}
	_, err := p.Exec(ctx)
	return err
}

// shared are the keys that programs of a namespace share, with their types.
func shared(k link.Keys) map[string]string {
	return map[string]string{
		k.Members(): "hash", k.Leases(): "zset", k.Reaping(): "hash", k.Connections(): "hash",
		k.Tasks(): "hash", k.Queue("default"): "list", k.Queue("limited"): "list", k.Queues(): "set", k.Settings(): "hash",
		k.Active(): "hash", k.Bytes(): "hash", k.Weighing(): "hash", k.Lists(): "hash", k.Idle("default"): "set",
		k.Delayed("default"): "zset", k.ParkedLists(): "set", k.Unique(): "hash", k.UniqueUntil(): "zset", k.Deadlines(): "zset",
		k.Blocked(): "hash", k.Followers(): "hash", k.Waiting(): "hash", k.Cancelling(): "hash", k.Progress(): "hash",
		k.Periodic(): "hash", k.Ready(): "set", k.Next(): "zset", k.Definitions(): "hash", k.TaskDefinitions(): "hash",
		k.Tries(): "hash", k.History(): "hash", k.Dead(): "zset", k.Cancelled(): "zset", k.Reasons(): "hash",
		k.Tended(): "hash", k.Done(): "zset", k.Kept(): "zset", k.RetainedLists(): "zset", k.Results(): "hash", k.Stats(): "hash",
	}
}

// spoilValues puts an alien in the place of each value that others count with.
func spoilValues(ctx context.Context, c *redis.Client, k link.Keys, alien string) error {
	p := c.Pipeline()
	if alien == "7" || alien == "1|1" {
		return nil // in these places they could be ours
	}
	for _, queue := range []string{"default", "limited"} {
		p.HSet(ctx, k.Active(), queue, alien)
		p.HSet(ctx, k.Bytes(), queue, alien)
		p.HSet(ctx, k.Weighing(), queue, alien)
		p.HSet(ctx, k.Tended(), queue, alien)
		p.HSet(ctx, k.Settings(), queue+"|program", alien)
		for _, what := range []string{"enqueued", "done", "failed", "dead", "cancelled", "handedOn", "speed"} {
			p.HSet(ctx, k.Stats(), queue+"|"+what, alien)
		}
	}
	for _, field := range []string{"looked", "hold", "cut"} {
		p.HSet(ctx, k.Reaping(), field, alien)
	}
	p.HSet(ctx, k.TaskDefinitions(), "|", alien, "work", alien)
	p.HSet(ctx, k.Periodic(), "tick", alien)
	p.HSet(ctx, k.Definitions(), "tick", alien)
	for _, name := range []string{"first", "second"} {
		p.HSet(ctx, k.Followers(), name+"|", alien)
		p.HSet(ctx, k.Tries(), name, alien)
		p.HSet(ctx, k.History(), name, alien)
	}
	p.Set(ctx, k.Mover(), alien, 0)
	p.Set(ctx, k.Clock(), alien, 0)
	p.Set(ctx, k.Numbers(worker.DefaultPrefix), alien, 0)
	p.Set(ctx, k.Lock("alien"), alien, 0)
	p.Set(ctx, k.Cache("alien"), alien, 0)
	_, err := p.Exec(ctx)
	return err
}

// spoiled is a running cluster of one set, and what its handlers count.
type spoiled struct {
	t      *testing.T
	set    *supervisortest.Set
	client *redis.Client
	keys   link.Keys
	ticks  *atomic.Int64
	worked *atomic.Int64
}

func startSpoiled(t *testing.T, cfg link.Config) spoiled {
	s := spoiled{t: t, client: redistest.Client(t, cfg), keys: cfg.Keys(), ticks: &atomic.Int64{}, worked: &atomic.Int64{}}
	app := worker.NewApp()
	work := func(ctx context.Context, _ int) error {
		s.worked.Add(1)
		tasks.Tx(ctx).Increment("worked", 1)
		tasks.Tx(ctx).Result("done")
		return nil
	}
	tasks.Handle(app, tasks.Definition{Name: "work", Retention: time.Hour}, work)
	tasks.Handle(app, tasks.Definition{Name: "limited", Queue: "limited"}, work)
	tasks.Handle(app, tasks.Definition{Name: "tick"}, func(context.Context, any) error { s.ticks.Add(1); return nil })
	app.LimitQueue("limited", tasks.Limits{Concurrency: 3, Tasks: 1000, Bytes: 1 << 20})
	app.Periodic("tick", tasks.Every(time.Second))
	s.set = supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
	return s
}

// works checks that all that the cluster does for others goes on.
func (s spoiled) works() {
	t, ctx := s.t, s.t.Context()
	api := s.set.Node("stellar-worker-1").API()
	before := s.worked.Load()
	for i, o := range []tasks.Options{{}, {ID: fmt.Sprint("first", before)}, {Unique: "one"}, {In: time.Second}, {Deadline: time.Now().Add(time.Hour)}} {
		_, err := api.Tasks.EnqueueWith(ctx, "work", i, o)
		require.NoError(t, err, i)
	}
	_, err := api.Tasks.EnqueueWith(ctx, "work", 1, tasks.Options{After: []string{fmt.Sprint("first", before)}})
	require.NoError(t, err)
	_, err = api.Tasks.Enqueue(ctx, "limited", 1)
	require.NoError(t, err)
	result, err := api.Tasks.EnqueueAndWait(ctx, "work", 1, tasks.Options{})
	require.NoError(t, err)
	require.JSONEq(t, `"done"`, string(result))
	ticks := s.ticks.Load()
	time.Sleep(8 * time.Second)
	require.Equal(t, before+8, s.worked.Load(), "every task ran once")
	require.Greater(t, s.ticks.Load(), ticks+3, "periodic tasks go on")
	require.LessOrEqual(t, s.ticks.Load(), ticks+9)

	live, err := s.set.Directory().Live(ctx)
	require.NoError(t, err)
	var ids []string
	for _, one := range live {
		ids = append(ids, one.ID)
	}
	require.Subset(t, ids, []string{"stellar-worker-1", "stellar-worker-2"})
	verdicts, err := api.RPC.DoAll(ctx, "api.ping", nil)
	require.NoError(t, err)
	for _, v := range verdicts {
		if slices.Contains([]string{"stellar-worker-1", "stellar-worker-2"}, v.Node.ID) {
			require.NoError(t, v.Err)
		}
	}
	_, err = api.Inspector.Counts(ctx)
	require.NoError(t, err)
	_, err = api.Inspector.Queues(ctx)
	require.NoError(t, err)
	_, err = api.Inspector.Periodic(ctx)
	require.NoError(t, err)
	definitions, err := api.Inspector.Definitions(ctx)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(definitions, func(d tasks.Known) bool { return d.Name == "limited" && d.Queue == "limited" }))
	_, err = api.Inspector.Forgotten(ctx)
	require.NoError(t, err)
	for task, err := range api.Inspector.List(ctx, tasks.Filter{States: tasks.States()}) {
		require.NoError(t, err, task)
	}
	later, err := api.Tasks.EnqueueIn(ctx, time.Hour, "work", 1)
	require.NoError(t, err)
	_, err = api.Inspector.Explain(ctx, later.ID)
	require.NoError(t, err)
	_, err = api.Inspector.Cancel(ctx, later.ID, "test")
	require.NoError(t, err)
	require.NoError(t, api.Inspector.Delete(ctx, later.ID))

	lock, err := api.Cache.Lock(ctx, "a", time.Minute)
	require.NoError(t, err)
	require.NoError(t, api.Cache.Save(lock.Context(), "a", 1, time.Hour))
	found := false
	for info, err := range api.Cache.Locks(ctx, "*") {
		require.NoError(t, err)
		found = found || info.Key == "a"
	}
	require.True(t, found)
	require.NoError(t, lock.Unlock())
	n, err := cache.Get[int](ctx, api.Cache, "a")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = api.Cache.Size(ctx, "*")
	require.NoError(t, err)
	connection, err := api.Connections.Add(ctx, mailbox(make(chan string, 1)), connections.Info{})
	require.NoError(t, err)
	_, err = api.Connections.Locate(ctx, connection.ID())
	require.NoError(t, err)
	require.NoError(t, connection.Close(ctx))
}

// takesOver checks that the tasks of a process that died are taken over.
func (s spoiled) takesOver() {
	ctx, dead, before := s.t.Context(), "dead-1#1:abcdef0123456789", s.worked.Load()
	p := s.client.Pipeline()
	p.HSet(ctx, s.keys.Tasks(), "orphan", "work|default|"+strconv.FormatInt(time.Now().UnixMilli(), 16)+"|\n1")
	p.HSet(ctx, s.keys.Owned(dead), "orphan", "1|1")
	p.HSet(ctx, s.keys.Members(), "dead-1", dead+"\n1\nrunning\n{}")
	p.ZAdd(ctx, s.keys.Leases(), redis.Z{Score: float64(time.Now().Add(time.Second).UnixMilli()), Member: dead})
	_, err := p.Exec(ctx)
	require.NoError(s.t, err)
	time.Sleep(20 * time.Second)
	require.Equal(s.t, before+1, s.worked.Load(), "its task ran")
	require.ErrorIs(s.t, s.client.ZScore(ctx, s.keys.Leases(), dead).Err(), redis.Nil)
}

func (s spoiled) renews() {
	ctx := s.t.Context()
	old := s.set.Node("stellar-worker-2").API().Incarnation
	s.set.Node("stellar-worker-2").Crash("drill")
	time.Sleep(5 * time.Second)
	require.NoError(s.t, s.set.AwaitReady(ctx))
	require.NotEqual(s.t, old, s.set.Node("stellar-worker-2").API().Incarnation)
	require.NoError(s.t, s.set.Scale(ctx, 3))
	require.NoError(s.t, s.set.AwaitReady(ctx))
	require.NoError(s.t, s.set.Scale(ctx, 2))
}

func TestAnAlienEntryStopsNobody(t *testing.T) {
	check := func(t *testing.T, reported string, spoil func(ctx context.Context, c *redis.Client, k link.Keys) error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			server := redistest.Embedded(t)
			s := startSpoiled(t, server.Config())
			require.NoError(t, spoil(t.Context(), s.client, s.keys))
			s.works()
			s.takesOver()
			require.NoError(t, spoil(t.Context(), s.client, s.keys))
			s.renews()
			s.works()
			if reported != "" {
				_, err := s.set.Directory().List(t.Context()) // who reads it counts it
				require.NoError(t, err)
				require.Positive(t, s.set.Status().Aliens[reported], "counted")
			}
			if err := s.set.Stop(); !errors.Is(err, context.Canceled) {
				require.NoError(t, err)
			}
		})
	}
	for key, kind := range shared(link.NewKeys(link.DefaultNamespace)) {
		t.Run(key, func(t *testing.T) {
			reported := ""
			if k := link.NewKeys(link.DefaultNamespace); key == k.Leases() || key == k.Members() {
				reported = key
			}
			check(t, reported, func(ctx context.Context, c *redis.Client, _ link.Keys) error { return spoil(ctx, c, key, kind) })
		})
	}
	for _, alien := range aliens {
		t.Run(fmt.Sprintf("%q", alien), func(t *testing.T) {
			check(t, "", func(ctx context.Context, c *redis.Client, k link.Keys) error { return spoilValues(ctx, c, k, alien) })
		})
	}
}
