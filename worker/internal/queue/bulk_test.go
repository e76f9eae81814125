package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestLargeCallsSendReadyRecords(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		conns, err := link.OpenClient(cfg, "test")
		require.NoError(t, err)
		defer conns.Close()
		k, ctx := cfg.Keys(), t.Context()
		p := NewProducer(ctx, conns, k)
		defer p.Close()
		all := func(n int, kind *Kind) (tasks []Task) {
			ids := p.DrawIDs(n)
			for range n {
				tasks = append(tasks, kind.Task(ids.Next(), NoOptions, []byte(`"payload"`)))
			}
			return tasks
		}
		caller := p.Caller(ctx, errClosed)
		enqueue := func(tasks []Task) map[int]string {
			t.Helper()
			known, refused, err := caller.Enqueue(ctx, tasks)
			require.NoError(t, err)
			require.Equal(t, len(tasks), known)
			return refused
		}
		tasks := all(4*MaxBatch+leastBulk, NewKind("t", "a", Options{}))
		began := time.Now()
		require.Empty(t, enqueue(tasks))
		took := time.Since(began)
		refusedReady := func() bool { return p.clock.Load().redis.IsZero() }
		require.True(t, !refusedReady() || took > time.Second, "the clock was right")
		ids, err := conns.LRange(ctx, k.Queue("a"), 0, -1).Result()
		require.NoError(t, err)
		require.Len(t, ids, len(tasks))
		for i, task := range tasks {
			require.Equal(t, task.ID, ids[len(ids)-1-i])
		}
		record, err := conns.HGet(ctx, k.Tasks(), tasks[7].ID).Result()
		require.NoError(t, err)
		r, err := ParseRecord(record)
		require.NoError(t, err)
		require.Equal(t, []string{"t", "a", `"payload"`}, []string{r.Name, r.Line, string(r.Payload)})
		require.WithinRange(t, r.Enqueued, began.Add(-time.Second), began.Add(took+time.Second))

		_, err = NewStore(conns, k).setQueue(ctx, "b", "operator", Limits{Tasks: 3}.String(), "")
		require.NoError(t, err)
		refused := enqueue(all(3*MaxBatch, NewKind("t", "b", Options{})))
		require.Len(t, refused, 3*MaxBatch-3)
		require.Equal(t, "full", refused[3])
		require.True(t, refusedReady(), "the next batches are not sent twice")
		clock := NewKind("t", "c", Options{})
		require.Empty(t, enqueue(all(3*MaxBatch, clock)))
		p.clock.Store(&Clock{time.Now().Add(-time.Hour), time.Now()})
		require.Empty(t, enqueue(all(leastBulk, clock)))
		require.True(t, refusedReady(), "it was wrong")
		require.EqualValues(t, 3*MaxBatch+leastBulk, conns.LLen(ctx, k.Queue("c")).Val())
	})
}
