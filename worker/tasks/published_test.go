package tasks_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// publisher publishes the definitions as a process of nodes does.
func publisher(t *testing.T, cfg link.Config, version string, log *bytes.Buffer, all ...tasks.Definition) *runner.Publisher {
	t.Helper()
	var r tasks.Registry
	for _, d := range all {
		tasks.Handle(&r, d, func(context.Context, number) error { return nil })
	}
	require.NoError(t, r.Err())
	return runner.NewPublisher(redistest.Client(t, cfg), cfg.Keys(), &r, version, zerolog.New(log))
}

// enqueuer returns a client without definitions of its own, and how many scripts it calls.
func enqueuer(t *testing.T, cfg link.Config) (*tasks.Client, *scriptCount) {
	t.Helper()
	count := &scriptCount{}
	redis := redistest.Client(t, cfg)
	redis.AddHook(count)
	c := tasks.NewClient(t.Context(), redis, cfg.Keys(), nil)
	t.Cleanup(c.Close)
	return c, count
}

type scriptCount struct{ atomic.Int64 }

func (s *scriptCount) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *scriptCount) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *scriptCount) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			s.Add(1)
		}
		return next(ctx, cmd)
	}
}

func queueOf(t *testing.T, cfg link.Config, id string) string {
	t.Helper()
	task, err := tasks.NewInspector(redistest.Client(t, cfg), cfg.Keys()).Get(t.Context(), id)
	require.NoError(t, err)
	return task.Queue
}

func TestAClientWithoutDefinitionsUsesThePublishedOnes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var log bytes.Buffer
		require.NoError(t, publisher(t, cfg, "1.0", &log, tasks.Definition{Name: "mail", Queue: "post"}).Publish(t.Context()))
		client, scripts := enqueuer(t, cfg)
		for range 3 { // no node lives
			receipt, err := client.Enqueue(t.Context(), "mail", number{})
			require.NoError(t, err)
			queue := queueOf(t, cfg, receipt.ID)
			require.Equal(t, "post", queue)
		}
		require.EqualValues(t, 1+3, scripts.Load(), "one reads the definitions")

		for _, o := range []tasks.Options{{}, {Queue: "post"}} {
			_, err := client.EnqueueWith(t.Context(), "mial", number{}, o)
			require.ErrorIs(t, err, tasks.ErrUndefined)
			require.ErrorContains(t, err, "enqueue mial: ")
		}
		_, err := client.EnqueueMany(t.Context(), []tasks.Request{{Name: "mail", Then: []tasks.Request{{Name: "mial"}}}})
		require.ErrorIs(t, err, tasks.ErrUndefined)
		before := scripts.Load()
		for range 3 {
			receipt, err := client.EnqueueWith(t.Context(), "any", number{}, tasks.Options{AnyName: true})
			require.NoError(t, err)
			queue := queueOf(t, cfg, receipt.ID)
			require.Equal(t, tasks.DefaultQueue, queue)
		}
		require.EqualValues(t, 3, scripts.Load()-before, "none of them looks for a definition")

		require.NoError(t, publisher(t, cfg, "1.1", &log, tasks.Definition{Name: "mial", Queue: "x"}).Publish(t.Context()))
		receipt, err := client.Enqueue(t.Context(), "mial", number{})
		require.NoError(t, err, "an unknown name is looked up at once")
		queue := queueOf(t, cfg, receipt.ID)
		require.Equal(t, "x", queue)
		require.Empty(t, log.String())
	})
}

func TestAClientReadsTheDefinitionsAgainEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		cfg := server.Config()
		var log bytes.Buffer
		require.NoError(t, publisher(t, cfg, "1", &log, tasks.Definition{Name: "mail", Queue: "old"}).Publish(t.Context()))
		client, _ := enqueuer(t, cfg)
		in := func() string {
			receipt, err := client.Enqueue(t.Context(), "mail", number{})
			require.NoError(t, err)
			queue := queueOf(t, cfg, receipt.ID)
			return queue
		}
		require.Equal(t, "old", in())
		require.NoError(t, publisher(t, cfg, "2", &log, tasks.Definition{Name: "mail", Queue: "new"}).Publish(t.Context()))
		require.Equal(t, "old", in())
		time.Sleep(11 * time.Second)
		synctest.Wait()
		require.Equal(t, "new", in())
		client.Close()
	})
}

func TestTheNewestDefinitionCountsAndDifferencesAreLoggedOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var older, newer bytes.Buffer
		first := publisher(t, cfg, "1.0", &older, tasks.Definition{Name: "mail", Queue: "a"}, tasks.Definition{Name: "same"})
		second := publisher(t, cfg, "2.0", &newer, tasks.Definition{Name: "mail", Queue: "b", Retention: time.Hour}, tasks.Definition{Name: "same"})
		for range 3 {
			require.NoError(t, first.Publish(t.Context()))
			require.NoError(t, second.Publish(t.Context()))
		}
		known, err := tasks.NewInspector(redistest.Client(t, cfg), cfg.Keys()).Definitions(t.Context())
		require.NoError(t, err)
		require.Len(t, known, 2)
		require.Equal(t, "2.0", known[0].Version)
		require.Equal(t, tasks.Definition{
			Name: "mail", Queue: "b", MaxAttempts: tasks.DefaultMaxAttempts, Backoff: tasks.DefaultBackoff, MaxBackoff: tasks.DefaultMaxBackoff,
			Retention: time.Hour,
		}, known[0].Definition)
		for _, log := range []string{older.String(), newer.String()} {
			require.Equal(t, 1, strings.Count(log, "\n"), log)
			require.Contains(t, log, `"name":"mail"`)
		}
		require.Contains(t, older.String(), `"other version":"2.0"`)
	})
}

// Nodes, and clients with an app, store a task that their app does not know.
func TestAnUnknownNameIsLoggedOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "known"}, func(ctx context.Context, _ number) error {
			tasks.Tx(ctx).Enqueue("third", number{})
			return nil
		})
		c := newCluster(t, cfg, &r)
		var log lockedBuffer
		c.tasks.LogTo(zerolog.New(&log))
		for _, name := range []string{"known", "other", "other", "second", "other"} {
			c.enqueue(name, tasks.Options{})
		}
		c.start(&r, 1)
		c.eventually("the follow-up task", func() bool { return len(c.list(tasks.Filter{Name: "third"})) == 1 })
		require.Equal(t, 3, strings.Count(log.String(), "\n"), log.String())
		require.Equal(t, 1, strings.Count(log.String(), `"name":"other","queue":"default"`), log.String())
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var (
	greet  = tasks.Define[number](tasks.Definition{Name: "greet", Queue: "mail"})
	double = tasks.DefineResult[number, int](tasks.Definition{Name: "double", Queue: "sums"})
)

func TestADefinedTaskIsTheSameOnBothSides(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		greeted := make(chan int, 9)
		greet.Handle(&r, func(_ context.Context, in number) error { greeted <- in.N; return nil })
		double.Handle(&r, func(ctx context.Context, in number) (int, error) {
			greet.EnqueueTx(tasks.Tx(ctx), in, tasks.Options{})
			return 2 * in.N, nil
		})
		client, scripts := enqueuer(t, cfg) // nothing is published yet
		first, err := greet.Enqueue(t.Context(), client, number{1})
		require.NoError(t, err)
		queue := queueOf(t, cfg, first.ID)
		require.Equal(t, "mail", queue)
		receipts, err := client.EnqueueMany(t.Context(), []tasks.Request{greet.Request(number{2}, tasks.Options{})})
		require.NoError(t, err)
		queue = queueOf(t, cfg, receipts[0].ID)
		require.Equal(t, "mail", queue)
		require.EqualValues(t, 2, scripts.Load(), "no definition is looked up")

		c := newCluster(t, cfg, &r)
		c.startWith(runner.Config{Registry: &r, Concurrency: 4, Queues: r.Queues()})
		require.ElementsMatch(t, []int{1, 2}, []int{receive(t, greeted), receive(t, greeted)})
		require.NoError(t, greet.EnqueueAndWait(t.Context(), client, number{3}, tasks.Options{}))
		require.Equal(t, 3, receive(t, greeted))
		sum, err := double.EnqueueAndWait(t.Context(), client, number{21}, tasks.Options{})
		require.NoError(t, err)
		require.Equal(t, 42, sum)
		require.Equal(t, 21, receive(t, greeted))
		receipt, err := double.EnqueueWith(t.Context(), client, number{4}, tasks.Options{WantResult: true})
		require.NoError(t, err)
		sum, err = double.Wait(t.Context(), client, receipt.ID)
		require.NoError(t, err)
		require.Equal(t, 8, sum)
	})
}

func TestDefinitionsThatCannotBeReadHoldUpNoTaskOfAnyName(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		redis := redistest.Client(t, cfg)
		require.NoError(t, redis.Set(t.Context(), cfg.Keys().TaskDefinitions(), "alien", 0).Err())
		client, _ := enqueuer(t, cfg)
		for range 2 {
			_, err := client.EnqueueWith(t.Context(), "any", number{}, tasks.Options{AnyName: true})
			require.NoError(t, err)
		}
		_, err := client.Enqueue(t.Context(), "mail", number{})
		require.ErrorContains(t, err, cfg.Keys().TaskDefinitions())
	})
}
