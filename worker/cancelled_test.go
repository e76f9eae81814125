package worker_test

import (
	"context"
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

// requests are one call of each kind of a client.
func requests(client *worker.Client) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"enqueue": func(ctx context.Context) error { _, err := client.Tasks.Enqueue(ctx, "double", 1); return err },
		"enqueue many": func(ctx context.Context) error {
			_, err := client.Tasks.EnqueueMany(ctx, make([]tasks.Request, 1200))
			return err
		},
		"enqueue and wait": func(ctx context.Context) error {
			_, err := client.Tasks.EnqueueAndWait(ctx, "double", 1, tasks.Options{})
			return err
		},
		"look up":  func(ctx context.Context) error { _, err := client.Tasks.Enqueue(ctx, "unknown", 1); return err },
		"wait":     func(ctx context.Context) error { _, err := client.Tasks.Wait(ctx, "x"); return err },
		"result":   func(ctx context.Context) error { _, _, err := client.Tasks.Result(ctx, "x"); return err },
		"run":      func(ctx context.Context) error { _, err := client.Tasks.RunPeriodic(ctx, "x"); return err },
		"get":      func(ctx context.Context) error { _, err := client.Inspector.Get(ctx, "x"); return err },
		"cancel":   func(ctx context.Context) error { _, err := client.Inspector.Cancel(ctx, "x", "y"); return err },
		"queues":   func(ctx context.Context) error { _, err := client.Inspector.Queues(ctx); return err },
		"limit":    func(ctx context.Context) error { _, err := client.Inspector.LimitQueue(ctx, "x", nil); return err },
		"periodic": func(ctx context.Context) error { _, err := client.Inspector.Periodic(ctx); return err },
		"defined":  func(ctx context.Context) error { _, err := client.Inspector.Definitions(ctx); return err },
		"save":     func(ctx context.Context) error { return client.Cache.Save(ctx, "k", 1, time.Minute) },
		"load":     func(ctx context.Context) error { _, err := client.Cache.Load(ctx, "k"); return err },
		"lock":     func(ctx context.Context) error { _, err := client.Cache.Lock(ctx, "k", time.Second); return err },
		"pop":      func(ctx context.Context) error { _, err := client.Cache.PopWait(ctx, "list", -1); return err },
		"publish":  func(ctx context.Context) error { return client.Bus.Publish(ctx, "news", "x") },
		"call":     func(ctx context.Context) error { return client.RPC.Cast(ctx, "api.ping", nil, rpcregistry.All()) },
		"call one": func(ctx context.Context) error {
			_, err := client.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.Node("stellar-worker-1"))
			return err
		},
		"call all": func(ctx context.Context) error { _, err := client.RPC.DoAll(ctx, "api.ping", nil); return err },
		"call at": func(ctx context.Context) error {
			return client.RPC.Cast(ctx, "api.ping", nil, rpcregistry.Connection("c"))
		},
		"ping":      func(ctx context.Context) error { return client.Ping(ctx) },
		"time":      func(ctx context.Context) error { _, err := client.Time(ctx); return err },
		"directory": func(ctx context.Context) error { _, err := client.Directory().List(ctx); return err },
	}
}

// A caller that gives up is no sign that Redis is not available.
func TestACancelledRequestIsNoOutage(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		app, _, _ := clientApp()
		supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: at})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for state, away := range map[string]bool{": Redis answers": false, ": Redis is away": true} {
			far, r := throughRoad(at)
			for _, isNew := range []bool{true, false} {
				client := connect(t, worker.ClientConfig{Redis: far})
				if !isNew {
					require.NoError(t, client.Bus.Publish(t.Context(), "news", "x"))
					_, err := client.Tasks.Enqueue(t.Context(), "double", 1)
					require.NoError(t, err)
				}
				r.closed.Store(away)
				for name, request := range requests(client) {
					err := request(gone)
					require.ErrorIs(t, err, context.Canceled, name+state)
					require.NotErrorIs(t, err, link.ErrUnavailable, name+state)
					require.NotErrorIs(t, err, rpcregistry.ErrUnavailable, name+state)
					if name != "wait" {
						require.ErrorContains(t, err, "not sent: context canceled", name+state)
					}
				}
				for name, request := range requests(client) {
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error, 1)
					go func() { ended <- request(ctx) }()
					if away {
						time.Sleep(5 * time.Millisecond) // so that it has begun
					}
					cancel()
					if err := <-ended; errors.Is(err, context.Canceled) {
						require.NotErrorIs(t, err, link.ErrUnavailable, name+state)
						require.NotErrorIs(t, err, rpcregistry.ErrUnavailable, name+state)
					}
				}
				r.closed.Store(false)
			}
		}
	})
}
