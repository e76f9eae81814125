package internal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestMain(m *testing.M) {
	if os.Getenv(childURL) != "" {
		child()
		return
	}
	_ = flag.Set("test.parallel", "4") // those that run beside others wait for leases to end
	redistest.Main(m)
}

func ids(s *supervisortest.Set) []string {
	var out []string
	for _, n := range s.Nodes() {
		out = append(out, n.ID())
	}
	return out
}

func TestTwoSetsAreOneCluster(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		var log syncBuffer
		app := worker.NewApp()
		first := supervisortest.StartWith(t, app, supervisor.Config{Workers: 4, Redis: cfg})
		require.Equal(t, []string{"stellar-worker-1", "stellar-worker-2", "stellar-worker-3", "stellar-worker-4"}, ids(first))

		second, err := supervisor.New(supervisor.Config{Workers: 4, Redis: cfg}, app, zerolog.New(&log))
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- second.Serve(ctx) }()
		require.NoError(t, second.AwaitReady(t.Context()))
		members, err := first.Directory().List(t.Context())
		require.NoError(t, err)
		require.Len(t, members, 8)
		for i, m := range members {
			require.Equal(t, fmt.Sprintf("stellar-worker-%d", i+1), m.Incarnation.ID)
			require.EqualValues(t, "running", m.State)
			require.True(t, m.Live)
		}

		// A broadcast reaches all eight, a call to one node just that one.
		api := first.Nodes()[0].API()
		verdicts, err := api.RPC.DoAll(t.Context(), "api.ping", nil)
		require.NoError(t, err)
		require.Len(t, verdicts, 8)
		for _, v := range verdicts {
			require.NoError(t, v.Err)
		}
		pong, err := rpcregistry.Do[rpcregistry.Pong](t.Context(), api.RPC, "api.ping", nil, rpcregistry.Node("stellar-worker-7"))
		require.NoError(t, err)
		require.Equal(t, "stellar-worker-7", pong.Node)

		log.await(t, `"text":"4 Stellar members have joined the cluster: stellar-worker-5 to stellar-worker-8"`)
		require.NoError(t, first.Stop())
		log.await(t, `"text":"4 Stellar members have left the cluster: stellar-worker-1 to stellar-worker-4"`)
		third := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: cfg})
		require.Equal(t, []string{"stellar-worker-1"}, ids(third), "the lowest free number")
		require.NoError(t, third.Stop())
		stop()
		require.NoError(t, <-done)
		onlyTheWorkIsLeft(t, cfg)
	})
}

func TestOtherPrefixesCountForThemselves(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 2, WorkerPrefix: "mail", Redis: cfg})
		b := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 1, ID: "mail-3", Redis: cfg})
		require.Equal(t, []string{"mail-1", "mail-2"}, ids(a))
		require.Equal(t, []string{"mail-3"}, ids(b))
		c := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 1, WorkerPrefix: "mail", Redis: cfg})
		require.Equal(t, []string{"mail-4"}, ids(c), "an exact id takes its number")
		d := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 2, WorkerPrefix: "mail-", Redis: cfg})
		require.Equal(t, []string{"mail-5", "mail-6"}, ids(d), "a dash at the end of a prefix is the same as none")
		_, err := supervisor.New(supervisor.Config{WorkerPrefix: "-", Redis: cfg}, nil, zerolog.Nop())
		require.ErrorContains(t, err, `worker prefix "-": use 1 to 190 letters, digits and . _ : -, not dashes alone`)
	})
}

func TestACrashIsALeaveAndAJoinToTheOthers(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		type start struct {
			task, node string
			at         time.Time
		}
		starts := make(chan start, 100)
		release := make(chan struct{})
		tasks.Handle(app, tasks.Definition{Name: "long"}, func(ctx context.Context, _ int) error {
			info := tasks.InfoOf(ctx)
			tasks.Tx(ctx).Increment("runs", 1)
			starts <- start{info.ID, worker.FromContext(ctx).ID(), time.Now()}
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Concurrency: 4, Redis: cfg})
		api := set.Nodes()[0].API()
		require.NoError(t, api.Cache.Save(t.Context(), "kept", "as it was", time.Hour))
		before, err := api.Cache.LoadWith(t.Context(), "kept", cache.LoadOptions{NoRecord: true})
		require.NoError(t, err)
		for i := range 4 {
			_, err := api.Tasks.Enqueue(t.Context(), "long", i)
			require.NoError(t, err)
		}
		on := map[string][]string{}
		for range 4 {
			s := <-starts
			on[s.node] = append(on[s.node], s.task)
		}
		victim := set.Node("stellar-worker-1")
		if len(on["stellar-worker-1"]) == 0 {
			victim = set.Node("stellar-worker-2")
		}
		id := victim.ID()
		incarnation := victim.Ended().Incarnation
		crashed := time.Now()
		victim.Crash("drill")
		for range on[id] {
			s := <-starts
			require.Contains(t, on[id], s.task)
			took := s.at.Sub(crashed)
			t.Logf("task of the crashed node started again after %s on %s", took, s.node)
			require.Less(t, took, 5*time.Second, "at once, not when a lease runs out")
		}
		require.NoError(t, set.AwaitReady(t.Context()))
		require.Equal(t, []string{"stellar-worker-1", "stellar-worker-2"}, ids(set))
		require.NotEqual(t, incarnation, set.Node(id).Ended().Incarnation)
		close(release)
		require.Eventually(t, func() bool {
			n, err := set.Nodes()[0].API().Inspector.Counts(t.Context())
			return err == nil && n.Done == 4
		}, time.Minute, 5*time.Millisecond)
		after, err := set.Nodes()[0].API().Cache.LoadWith(t.Context(), "kept", cache.LoadOptions{NoRecord: true})
		require.NoError(t, err)
		require.Equal(t, before.Value, after.Value)
		require.Equal(t, before.Created, after.Created)
		runs, err := cache.Get[int](t.Context(), set.Nodes()[0].API().Cache, "runs")
		require.NoError(t, err)
		require.Equal(t, 4, runs, "every task took effect once")
		require.NoError(t, set.Stop())
		require.Equal(t, 1, set.Report().Crashes)
		onlyTheWorkIsLeft(t, cfg)
	})
}

func TestDrainWaitsForHandlersAndGivesBackTheRest(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		started := make(chan struct{}, 10)
		release := make(chan struct{})
		tasks.Handle(app, tasks.Definition{Name: "finishes"}, func(_ context.Context, _ int) error {
			started <- struct{}{}
			<-release
			return nil
		})
		tasks.Handle(app, tasks.Definition{Name: "obeys"}, func(ctx context.Context, _ int) error {
			started <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg, Drain: time.Second})
		api := set.Nodes()[0].API()
		for _, name := range []string{"finishes", "finishes", "obeys"} {
			_, err := api.Tasks.Enqueue(t.Context(), name, 1)
			require.NoError(t, err)
		}
		for range 3 {
			<-started
		}
		time.AfterFunc(50*time.Millisecond, func() { close(release) })
		require.NoError(t, set.Stop())
		r := set.Report()
		require.EqualValues(t, 2, r.Done)
		require.Equal(t, 1, r.HandedOn)
		require.Empty(t, r.Running)
		c := redistest.Client(t, cfg)
		require.EqualValues(t, 1, c.LLen(t.Context(), cfg.Keys().Queue("default")).Val(), "it went back")
		require.Zero(t, c.Exists(t.Context(), cfg.Keys().Tries()).Val(), "without a count")
		onlyTheWorkIsLeft(t, cfg)
	})
}

func TestAHandlerThatNeverReturnsIsNamed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		started, release := make(chan string, 1), make(chan struct{})
		tasks.Handle(app, tasks.Definition{Name: "stuck"}, func(ctx context.Context, _ int) error {
			info := tasks.InfoOf(ctx)
			started <- info.ID
			<-release
			return nil
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg, Drain: 50 * time.Millisecond, Grace: 50 * time.Millisecond})
		_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "stuck", 1)
		require.NoError(t, err)
		id := <-started
		t.Cleanup(func() { close(release) })
		err = set.Stop()
		require.ErrorIs(t, err, supervisor.ErrDrainDeadline)
		require.ErrorContains(t, err, id)
		require.Equal(t, []string{id}, set.Report().Running)
		require.Contains(t, set.Report().String(), id)
	})
}

func TestStopAndRestartByCall(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 3, Redis: cfg})
		api := set.Nodes()[0].API()
		first := set.Node("stellar-worker-3").Ended().Incarnation
		_, err := api.RPC.DoCluster(t.Context(), "api.restart", nil, rpcregistry.Node("stellar-worker-3"))
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			n := set.Node("stellar-worker-3")
			return n != nil && n.State() == membership.Running && n.Ended().Incarnation != first
		}, time.Minute, 5*time.Millisecond)
		_, err = api.RPC.DoCluster(t.Context(), "api.stop", nil, rpcregistry.Node("stellar-worker-2"))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return slices.Equal(ids(set), []string{"stellar-worker-1", "stellar-worker-3"}) }, time.Minute, 5*time.Millisecond)
		// As doCluster('api.stop') does: the whole set ends, cleanly.
		require.NoError(t, api.RPC.Cast(t.Context(), "api.stop", nil, rpcregistry.All()))
		require.NoError(t, set.Ended(t))
		require.Zero(t, set.Report().Crashes)
		onlyTheWorkIsLeft(t, cfg)
	})
}

func TestFlappingNodesStopTheSet(t *testing.T) {
	app := worker.NewApp()
	app.OnStart(func(ctx context.Context) error {
		if worker.FromContext(ctx).ID() == "stellar-worker-1" {
			panic("cannot start")
		}
		return nil
	})
	set, err := supervisor.New(supervisor.Config{
		Workers: 2, Redis: redistest.Embedded(t).Config(), Backoff: time.Millisecond, MaxBackoff: time.Millisecond,
	}, app, zerolog.Nop())
	require.NoError(t, err)
	err = set.Serve(t.Context())
	require.ErrorIs(t, err, supervisor.ErrFlapping)
	require.ErrorContains(t, err, "stellar-worker-1 5 times")
	require.ErrorContains(t, err, "cannot start")
}

func TestRedisThatIsNotThere(t *testing.T) {
	set, err := supervisor.New(supervisor.Config{
		Workers: 1, StartTimeout: 50 * time.Millisecond,
		Redis: link.Config{URL: "redis://user:hunter2@127.0.0.1:1/0"},
	}, nil, zerolog.Nop())
	require.NoError(t, err)
	err = set.Serve(t.Context())
	require.ErrorIs(t, err, supervisor.ErrRedisUnavailable)
	require.ErrorContains(t, err, "redis://127.0.0.1:1/0")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestConfigurationReportsEverythingAtOnce(t *testing.T) {
	_, err := supervisor.New(supervisor.Config{
		Workers: 3, ID: "one", WorkerPrefix: "no spaces", Concurrency: -1, Drain: -1, Queues: []string{"a|b"},
		Redis: link.Config{URL: "http://x", Namespace: "{}", Token: link.NewSecret("short")},
	}, nil, zerolog.Nop())
	for _, part := range []string{"one worker only", "no spaces", "concurrency", "drain", `"a|b"`, "redis URL", "namespace", "token"} {
		require.ErrorContains(t, err, part)
	}
	app := worker.NewApp()
	app.Subscribe("no spaces", nil)
	tasks.Handle(app, tasks.Definition{}, func(context.Context, int) error { return nil })
	_, err = supervisor.New(supervisor.Config{Workers: 1, Redis: redistest.Embedded(t).Config()}, app, zerolog.Nop())
	require.ErrorContains(t, err, "subscription")
	require.ErrorContains(t, err, "task name")
}

// onlyTheWorkIsLeft checks what ended sets left on Redis: the work and the
// cluster's own counters, nothing of theirs.
func onlyTheWorkIsLeft(t *testing.T, cfg link.Config) {
	t.Helper()
	k := cfg.Keys()
	c := redistest.Client(t, cfg)
	allowed := []string{
		k.Layout(), k.Epoch(), k.Token(), k.Stats(), k.Queues(), k.Tasks(), k.Tries(), k.Delayed(tasks.DefaultQueue), k.Dead(), k.Reasons(), k.Done(), k.Kept(), k.RetainedLists(), k.Results(), k.History(),
		k.Reaping(), k.TaskDefinitions(), k.Ready(), k.Next(), k.Prefix() + "clock",
		k.Events(), k.Versions(), k.Charts(), k.Charted(),
	}
	for _, key := range c.Keys(t.Context(), k.Prefix()+"*").Val() {
		if strings.HasPrefix(key, k.Producer("")) { // a copy of its last batch may still be on its way
			require.LessOrEqual(t, c.PTTL(t.Context(), key).Val(), time.Minute)
			continue
		}
		if strings.HasPrefix(key, k.Charts()+":") { // the history of runs ends by itself
			require.LessOrEqual(t, c.PTTL(t.Context(), key).Val(), 75*time.Hour)
			continue
		}
		if !slices.Contains(allowed, key) && !strings.HasPrefix(key, k.CachePrefix()) && !strings.HasPrefix(key, k.Queue("")) && !strings.HasPrefix(key, k.Retained("")) {
			t.Errorf("left behind: %s", describe(t, c, key))
		}
	}
}

func describe(t *testing.T, c redis.UniversalClient, key string) string {
	t.Helper()
	kind := c.Type(t.Context(), key).Val()
	var value any
	switch kind {
	case "hash":
		value = c.HGetAll(t.Context(), key).Val()
	case "zset":
		value = c.ZRangeWithScores(t.Context(), key, 0, -1).Val()
	case "set":
		value = c.SMembers(t.Context(), key).Val()
	}
	text, _ := json.Marshal(value)
	return fmt.Sprintf("%s (%s) %s", key, kind, text)
}

// syncBuffer is a log that a test can wait on.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) await(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(s.b.String(), text)
	}, time.Minute, 5*time.Millisecond, "log line %s", text)
}
