//go:build unix

package internal_test

import (
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// TestAProcessThatIsPausedPastItsLeaseHarmsNothing stops one of two processes
// with SIGSTOP in the middle of its work, for longer than its lease, and lets it go
// on: with claims and commits in hand that are not its own any more.
func TestAProcessThatIsPausedPastItsLeaseHarmsNothing(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	client := redistest.Client(t, cfg)
	enqueuer := tasks.NewClient(t.Context(), client, cfg.Keys(), &tasks.Registry{})
	inspector := tasks.NewInspector(client, cfg.Keys())
	t.Cleanup(enqueuer.Close)
	directory := membership.Directory{Client: client, Keys: cfg.Keys()}
	paused, other := startProcess(t, cfg.URL), startProcess(t, cfg.URL)
	lives := func() (of []string) {
		members, err := directory.List(t.Context())
		require.NoError(t, err)
		for _, m := range members {
			if m.Process.PID == paused.cmd.Process.Pid && m.Live {
				of = append(of, m.Incarnation.String())
			}
		}
		return of
	}
	require.Len(t, lives(), 2)

	const n, pauses = 2000, 2
	want, next := int64(0), 0
	enqueue := func() {
		news := make([]tasks.Request, n/(pauses+1))
		for i := range news {
			news[i] = tasks.Request{Name: "add", Payload: next, Options: tasks.Options{ID: "add:" + strconv.Itoa(next)}}
			want += int64(next)
			next++
		}
		_, err := enqueuer.EnqueueMany(t.Context(), news)
		require.NoError(t, err)
	}
	handedOn := func() int64 {
		c, err := inspector.Counts(t.Context())
		require.NoError(t, err)
		return c.HandedOn
	}
	enqueue()
	for range pauses {
		had, were := handedOn(), lives()
		inHand := func() bool {
			members, err := directory.List(t.Context())
			require.NoError(t, err)
			return slices.ContainsFunc(members, func(m membership.Member) bool {
				return m.Process.PID == paused.cmd.Process.Pid && m.TasksInHand > 0
			})
		}
		eventually(t, "it is paused at work", func() bool {
			enqueue()
			require.NoError(t, paused.cmd.Process.Signal(syscall.SIGSTOP))
			if inHand() {
				return true
			}
			require.NoError(t, paused.cmd.Process.Signal(syscall.SIGCONT))
			return false
		})
		eventually(t, "the other takes over", func() bool {
			return handedOn() > had && !slices.ContainsFunc(were, func(life string) bool {
				return client.ZScore(t.Context(), cfg.Keys().Leases(), life).Val() != 0
			})
		})
		require.NoError(t, paused.cmd.Process.Signal(syscall.SIGCONT))
		eventually(t, "it comes back as new incarnations", func() bool {
			now := lives()
			return len(now) == 2 && !slices.Contains(were, now[0]) && !slices.Contains(were, now[1])
		})
	}
	require.Eventually(t, func() bool {
		c, err := inspector.Counts(t.Context())
		return err == nil && c.Done == int64(next)
	}, 60*time.Second, 20*time.Millisecond)
	sum, err := cache.Get[int64](t.Context(), cache.New(cache.Config{Client: client, Keys: cfg.Keys()}), "sum")
	require.NoError(t, err)
	require.Equal(t, want, sum, "every task took effect once")
	c, err := inspector.Counts(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, next, c.Done)
	require.Zero(t, c.Pending+c.Active+c.Delayed+c.Dead)
	t.Logf("%d tasks taken over", c.HandedOn)
	paused.term(t)
	other.term(t)
	require.Zero(t, client.Exists(t.Context(), cfg.Keys().Leases(), cfg.Keys().Members()).Val(), "nobody is left")
}
