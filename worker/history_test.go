package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// The history has each run of a set, by name, queue and outcome, also those of its last minute.
func TestTheHistoryHasEachRun(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		app := worker.NewApp()
		tasks.Handle(app, tasks.Definition{Name: "mail", Queue: "out", MaxAttempts: 2, Backoff: time.Millisecond}, func(_ context.Context, n int) error {
			if n%2 == 1 {
				return errors.New("refused")
			}
			return nil
		})
		tasks.Handle(app, tasks.Definition{Name: "bomb", MaxAttempts: 1}, func(context.Context, int) error { panic("boom") })
		client := connect(t, worker.ClientConfig{Redis: at, App: app})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: at})
		for i := range 10 {
			_, err := client.Tasks.Enqueue(t.Context(), "mail", i)
			require.NoError(t, err)
		}
		_, err := client.Tasks.Enqueue(t.Context(), "bomb", 0)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			c, err := client.Inspector.Counts(t.Context())
			return err == nil && c.Done == 5 && c.Dead == 6
		}, 30*time.Second, time.Millisecond)
		require.NoError(t, set.Stop())

		now, err := client.Time(t.Context())
		require.NoError(t, err)
		points, err := client.Inspector.History(t.Context(), now.Add(-time.Hour), time.Time{}, tasks.HistoryFilter{Step: 24 * time.Hour})
		require.NoError(t, err)
		sums := map[string]tasks.HistoryPoint{}
		for _, p := range points { // two of a name around midnight
			s := sums[p.Queue+"/"+p.Name]
			if s.Runs == nil {
				s.Runs = map[tasks.Outcome]int64{}
			}
			for outcome, n := range p.Runs {
				s.Runs[outcome] += n
			}
			s.Wait, s.Run = s.Wait.Plus(p.Wait), s.Run.Plus(p.Run)
			sums[p.Queue+"/"+p.Name] = s
		}
		require.Len(t, sums, 2)
		mail, bomb := sums["out/mail"], sums["default/bomb"]
		require.Equal(t, map[tasks.Outcome]int64{tasks.RunDone: 5, tasks.RunFailed: 10}, mail.Runs)
		require.EqualValues(t, 15, mail.Run.Count)
		require.EqualValues(t, 10, mail.Wait.Count, "of first runs")
		all, failed := mail.Ended()
		require.EqualValues(t, 15, all)
		require.EqualValues(t, 10, failed)
		require.Equal(t, map[tasks.Outcome]int64{tasks.RunPanicked: 1}, bomb.Runs)

		_, err = client.Inspector.History(t.Context(), now, time.Time{}, tasks.HistoryFilter{Step: -1})
		require.ErrorIs(t, err, tasks.ErrInvalid)
		again := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: at})
		answer, err := client.RPC.DoCluster(t.Context(), "api.tasks.history", map[string]any{"name": "mail", "together": true}, rpcregistry.All())
		require.NoError(t, err)
		var told []tasks.HistoryPoint
		require.NoError(t, json.Unmarshal(answer.Value, &told))
		require.NotEmpty(t, told)
		require.NoError(t, again.Stop())
	})
}

func TestAQuantileIsWithinItsBucket(t *testing.T) {
	times := tasks.Times{Count: 100, Sum: 100, Buckets: []int64{90, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}
	require.Equal(t, time.Millisecond, times.Quantile(0.9))
	require.Equal(t, 10*time.Millisecond, times.Quantile(0.99))
	require.Equal(t, time.Hour, times.Quantile(1), "the last bound")
	require.Equal(t, time.Millisecond, times.Mean())
	require.Zero(t, tasks.Times{}.Quantile(0.5))
	require.Zero(t, tasks.Times{}.Mean())
}
