package internal_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// undead registers a task that returns when its channel says so, whatever becomes
// of its context, and adds one to "effects" in its transaction.
func undead(app *worker.App, name string) (started chan string, release chan struct{}) {
	started, release = make(chan string, 10), make(chan struct{})
	tasks.Handle(app, tasks.Definition{Name: name}, func(ctx context.Context, _ int) error {
		info := tasks.InfoOf(ctx)
		tasks.Tx(ctx).Increment("effects", 1)
		started <- info.ID
		<-release
		return nil
	})
	return started, release
}

func healthz(t *testing.T, set admin.Set) int {
	t.Helper()
	w := httptest.NewRecorder()
	admin.Handler(set, link.Secret{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
	return w.Code
}

func TestZombiesAreNamedCountedAndCapped(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var log syncBuffer
		app := worker.NewApp()
		started, release := undead(app, "undead")
		starts := counting(app, 0)
		set, err := supervisor.New(supervisor.Config{
			Workers: 1, Redis: cfg, Drain: 20 * time.Millisecond, Grace: 20 * time.Millisecond, ZombieLimit: 2, Backoff: time.Millisecond,
		}, app, zerolog.New(&log))
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- set.Serve(ctx) }()
		require.NoError(t, set.AwaitReady(soon(t)))
		redis := redistest.Client(t, cfg)
		client, inspector := tasks.NewClient(t.Context(), redis, cfg.Keys(), &tasks.Registry{}), tasks.NewInspector(redis, cfg.Keys())
		t.Cleanup(client.Close)
		enqueue := func(name, id string) {
			_, err := client.EnqueueWith(t.Context(), name, 1, tasks.Options{ID: id})
			require.NoError(t, err)
		}
		life := func() string {
			if n := set.Node("stellar-worker-1"); n != nil && n.State() == membership.Running {
				return n.Ended().Incarnation
			}
			return ""
		}
		// One outlives a restart, the other a crash.
		for n, end := range []func(){
			func() { set.Node("stellar-worker-1").Stop(worker.ErrRestart) },
			func() { set.Node("stellar-worker-1").Crash("drill") },
		} {
			enqueue("undead", []string{"first", "second"}[n])
			<-started
			before := life()
			require.Equal(t, http.StatusOK, healthz(t, set))
			end()
			eventually(t, "the node is back, without waiting for it", func() bool { return life() != "" && life() != before })
			require.Equal(t, n+1, set.Status().Zombies.Count)
		}
		s := set.Status()
		require.Equal(t, builtin.Zombies{Count: 2, Limit: 2, Tasks: []string{"first", "second"}, Choked: true}, s.Zombies)
		require.False(t, s.Healthy)
		require.Equal(t, http.StatusServiceUnavailable, healthz(t, set))
		require.NoError(t, set.Scale(soon(t), 2))
		enqueue("count", "")
		require.Never(t, func() bool { return len(starts) > 0 }, 300*time.Millisecond, 10*time.Millisecond, "at the cap nobody claims, nor who is new")

		release <- struct{}{} // one of them returns
		select {
		case <-starts:
		case <-time.After(time.Minute):
			t.Fatal("below the cap it does not claim again")
		}
		require.Equal(t, 1, set.Status().Zombies.Count)
		require.Equal(t, http.StatusOK, healthz(t, set))
		close(release)
		eventually(t, "all have returned", func() bool { return set.Status().Zombies.Count == 0 })
		eventually(t, "what they had in hand was done once", func() bool {
			n, err := inspector.Counts(t.Context())
			return err == nil && n.Done == 3
		})
		stop()
		require.NoError(t, <-done)
		log.mu.Lock()
		defer log.mu.Unlock()
		text := log.b.String()
		require.Contains(t, text, `"tasks":["first"],"stacks":"1 goroutines at`)
		require.Contains(t, text, "internal_test.undead.func1")
		require.Contains(t, text, `"limit":2,"tasks":["first","second"],"message":"too many handlers outlived their nodes`)
		require.Equal(t, 1, strings.Count(text, "tasks are claimed again"))
	})
}

func TestAZombiesTaskIsHandedOnAndItsLateEndRefusedOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := worker.NewApp()
		started, release := undead(app, "undead")
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: redistest.Embedded(t).Config(), Drain: time.Second})
		_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "undead", 1)
		require.NoError(t, err)
		id := <-started
		for _, n := range set.Nodes() {
			n.Crash("drill")
		}
		time.Sleep(25 * time.Second)
		require.Empty(t, started, "it keeps its task for a while")
		time.Sleep(10 * time.Second)
		require.Equal(t, id, <-started, "then another runs it")
		require.Equal(t, 1, set.Status().Zombies.Count, "it is one all the same")
		close(release)
		time.Sleep(2 * time.Second)
		require.Zero(t, set.Status().Zombies.Count)
		require.Equal(t, 1, effects(t, set))
		require.NoError(t, set.Stop())
		require.Equal(t, 2, set.Report().Crashes)
	})
}

func TestAZombieIsNamedAtTheEnd(t *testing.T) {
	app := worker.NewApp()
	started, release := undead(app, "undead")
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Drain: 20 * time.Millisecond, Grace: 20 * time.Millisecond})
	_, err := set.Nodes()[0].API().Tasks.Enqueue(t.Context(), "undead", 1)
	require.NoError(t, err)
	id := <-started
	require.NoError(t, set.Scale(soon(t), 0))
	err = set.Stop()
	require.ErrorIs(t, err, supervisor.ErrDrainDeadline)
	require.ErrorContains(t, err, id)
	close(release)
}
