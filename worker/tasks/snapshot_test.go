package tasks_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// snapshot takes a snapshot anew.
func (c *cluster) snapshot() tasks.Snapshot {
	c.t.Helper()
	c.redis.Del(c.t.Context(), c.keys.Snapshot())
	s, err := c.inspector.Snapshot(c.t.Context(), 0)
	require.NoError(c.t, err)
	return s
}

func stateOf(t *testing.T, s tasks.Snapshot, name string) tasks.QueueState {
	t.Helper()
	for _, q := range s.Queues {
		if q.Name == name {
			return q
		}
	}
	t.Fatalf("no queue %s in %v", name, s.Queues)
	return tasks.QueueState{}
}

func TestASnapshotHasWhatIsInTheQueues(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		tasks.Handle(&r, tasks.Definition{Name: "fails", Queue: "fails", MaxAttempts: 1}, func(context.Context, number) error { panic("no") })
		c := newCluster(t, cfg, &r)
		c.start(&r, 2)
		c.enqueue("work", tasks.Options{})
		c.enqueue("work", tasks.Options{})
		receive(t, started)
		receive(t, started)
		for _, o := range []tasks.Options{
			{}, {Priority: tasks.High}, {Priority: tasks.High}, {Priority: tasks.Low}, {Group: "a"}, {Group: "a"}, {Group: "b"},
			{In: time.Hour}, {Queue: "only-later", In: time.Hour},
		} {
			c.enqueue("work", o)
		}
		ctx := t.Context()
		limits := tasks.Limits{Concurrency: 5, Tasks: 100, Bytes: 1 << 20, Rate: tasks.Rate{Tasks: 1, Per: time.Hour}}
		_, err := c.inspector.LimitQueue(ctx, "limited", &limits)
		require.NoError(t, err)
		require.NoError(t, c.inspector.PauseQueue(ctx, "limited", true))
		c.enqueue("work", tasks.Options{Queue: "limited"})

		s := c.snapshot()
		require.Empty(t, s.Errors)
		q := stateOf(t, s, "default")
		require.Positive(t, q.Oldest)
		require.Less(t, q.Age(s.Now), time.Minute)
		require.Equal(t, 1, q.Claimers)
		require.Zero(t, q.Quiet)
		require.EqualValues(t, 10, q.Ever.Enqueued)
		require.Equal(t, []int64{7, 2, 1, 3, 2, 1, 2}, []int64{q.Pending, q.Urgent, q.Low, q.Grouped, q.Groups, q.Delayed, q.Active})
		later := stateOf(t, s, "only-later")
		require.EqualValues(t, 1, later.Delayed)
		require.Zero(t, later.Age(s.Now))
		require.Zero(t, later.Claimers)
		limited := stateOf(t, s, "limited")
		require.True(t, limited.Paused)
		require.EqualValues(t, 1, limited.Pending)
		require.Positive(t, limited.Bytes)
		require.Equal(t, 5, limited.Limits.Concurrency)
		require.Equal(t, time.Hour, limited.Limits.Rate.Per)
		require.Len(t, s.Nodes, 1)
		require.True(t, s.Nodes[0].Live)
		require.Equal(t, 2, s.Nodes[0].InHand)

		// It is what the slower look at each queue says.
		all, err := c.inspector.Queues(ctx)
		require.NoError(t, err)
		require.Len(t, s.Queues, len(all))
		for at, is := range all {
			was := s.Queues[at]
			require.Equal(t, []any{is.Name, is.Paused, is.Limits, is.Pending, is.Parked, is.Grouped, is.Delayed, is.Active, is.Bytes, is.Ever},
				[]any{was.Name, was.Paused, was.Limits, was.Pending + was.Parked, was.Parked, was.Grouped, was.Delayed, was.Active, was.Bytes, was.Ever})
		}

		// Others read the same one, until it is too old.
		require.NoError(t, c.inspector.PauseQueue(ctx, "limited", false))
		other, err := tasks.NewInspector(redistest.Client(t, cfg), cfg.Keys()).Snapshot(ctx, time.Hour)
		require.NoError(t, err)
		require.True(t, stateOf(t, other, "limited").Paused)
		require.Equal(t, s.At.UnixMilli(), other.At.UnixMilli())
		other, err = c.inspector.Snapshot(ctx, time.Nanosecond)
		require.NoError(t, err)
		require.False(t, other.At.Before(s.At))
		release <- struct{}{}
		release <- struct{}{}
	})
}

func TestAPartThatFailsLeavesTheOthersStanding(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		_, _ = blocking(&r, "work")
		c := newCluster(t, cfg, &r)
		c.enqueue("work", tasks.Options{})
		ctx := t.Context()
		for key, part := range map[string]tasks.SnapshotPart{
			c.keys.Stats(): tasks.PartTotals, c.keys.Settings(): tasks.PartSettings, c.keys.Members(): tasks.PartNodes, c.keys.Definitions(): tasks.PartPeriodic,
		} {
			c.redis.Del(ctx, key)
			require.NoError(t, c.redis.RPush(ctx, key, "x").Err())
			s := c.snapshot()
			require.Len(t, s.Errors, 1, "%v", s.Errors)
			require.Contains(t, s.Errors, part)
			require.EqualValues(t, 1, stateOf(t, s, "default").Pending)
			require.NoError(t, c.redis.Del(ctx, key).Err())
		}
		require.NoError(t, c.redis.Set(ctx, c.keys.Queue("default^"), "x", 0).Err())
		require.EqualValues(t, 1, stateOf(t, c.snapshot(), "default").Pending)
		require.Empty(t, c.snapshot().Errors, "what is something else's has no tasks")
		require.NoError(t, c.redis.Set(ctx, c.keys.Snapshot(), "x", 0).Err())
		_, err := c.inspector.Snapshot(ctx, 0)
		require.ErrorContains(t, err, c.keys.Snapshot())
	})
}

// A hundred processes that look at a thousand queues with tasks every 5 s cost Redis at most 300 commands a second, those
// of scripts among them.
func TestSnapshotsAreCheapHoweverManyLook(t *testing.T) {
	const processes, queues, turns = 100, 1000, 5
	server := redistest.Start(t)
	cfg, ctx := server.Config(), t.Context()
	client, keys := redistest.Client(t, cfg), cfg.Keys()
	producer := tasks.NewClient(ctx, client, keys, nil)
	defer producer.Close()
	many := make([]tasks.Request, 0, 2*queues)
	for i := range queues {
		for _, o := range []tasks.Options{{}, {In: time.Hour}} {
			o.Queue, o.AnyName = fmt.Sprintf("queue-%04d", i), true
			many = append(many, tasks.Request{Name: "work", Payload: 1, Options: o})
		}
	}
	_, err := producer.EnqueueMany(ctx, many)
	require.NoError(t, err)
	require.NoError(t, client.ConfigResetStat(ctx).Err())
	inspectors := make([]*tasks.Inspector, processes)
	for i := range inspectors {
		inspectors[i] = tasks.NewInspector(client, keys)
	}
	looked, commands := map[string]bool{}, 0
	for turn := range turns { // every 5 s one is too old
		require.NoError(t, client.HSet(ctx, keys.Snapshot(), "asked", "0", "at", "1").Err())
		if turn == 1 {
			commands, inspectors = commandsOf(t, client), inspectors[:1]
		}
		for _, i := range inspectors {
			s, err := i.Snapshot(ctx, time.Minute)
			require.NoError(t, err)
			require.Empty(t, s.Errors)
		}
		s, err := inspectors[0].Snapshot(ctx, time.Hour)
		require.NoError(t, err)
		require.Len(t, s.Queues, queues)
		for _, q := range s.Queues {
			if q.Pending == 1 && q.Delayed == 1 && !q.Oldest.IsZero() {
				looked[q.Name] = true
			}
		}
	}
	require.Equal(t, queues, len(looked), "each was looked at") //nolint:testifylint // to print all would be long
	t.Logf("%d commands/s", commands/5)
	require.LessOrEqual(t, commands/5, 300)
}

// commandsOf returns how many commands the server has run since its counts were reset, with those of scripts.
func commandsOf(t *testing.T, client redis.UniversalClient) (commands int) {
	t.Helper()
	for line := range strings.Lines(client.Info(t.Context(), "commandstats").Val()) {
		name, rest, _ := strings.Cut(line, ":calls=")
		if name != "cmdstat_info" && name != "cmdstat_config|resetstat" && rest != "" {
			n, _, _ := strings.Cut(rest, ",")
			calls, err := strconv.Atoi(n)
			require.NoError(t, err)
			commands += calls
		}
	}
	return commands
}
