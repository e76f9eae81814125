package worker_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// tenant is the context key of the tenant that something is done for.
type tenant struct{}

func tenantOf(ctx context.Context) string {
	name, _ := ctx.Value(tenant{}).(string)
	return name
}

// A tenant travels from a call into its method, and from a task into the message of
// its transaction.
func TestTheAppsMiddlewareIsOnEveryNode(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		app.UseCall(func(next rpcregistry.CallFunc) rpcregistry.CallFunc {
			return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
				r.Meta = map[string]string{"tenant": tenantOf(ctx)}
				return next(ctx, r)
			}
		})
		app.UseMethod(func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
			return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
				return next(context.WithValue(ctx, tenant{}, rpcregistry.FromContext(ctx).Meta["tenant"]), args)
			}
		})
		app.UsePublish(func(next redisbus.PublishFunc) redisbus.PublishFunc {
			return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
				m.Meta = map[string]string{"tenant": tenantOf(ctx)}
				return next(ctx, m)
			}
		})
		app.UseSubscription(func(next redisbus.Handler) redisbus.Handler {
			return func(ctx context.Context, m redisbus.Message) {
				next(context.WithValue(ctx, tenant{}, m.Meta["tenant"]), m)
			}
		})
		app.Use(func(next tasks.Handler) tasks.Handler {
			return func(ctx context.Context, payload json.RawMessage) error {
				return next(context.WithValue(ctx, tenant{}, "of the task"), payload)
			}
		})
		rpcregistry.Handle(app, "tenant", func(ctx context.Context, _ struct{}) (string, error) { return tenantOf(ctx), nil })
		tasks.Handle(app, tasks.Definition{Name: "work"}, func(ctx context.Context, _ any) error {
			tasks.Tx(ctx).Publish("worked", nil)
			return nil
		})
		heard := make(chan string, 2)
		app.Subscribe("worked", func(ctx context.Context, _ redisbus.Message) { heard <- tenantOf(ctx) })
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		api := set.Node("stellar-worker-1").API()

		ctx := context.WithValue(t.Context(), tenant{}, "of the caller")
		got, err := rpcregistry.Do[string](ctx, api.RPC, "tenant", nil, rpcregistry.Node("stellar-worker-2"))
		require.NoError(t, err)
		require.Equal(t, "of the caller", got)

		_, err = api.Tasks.Enqueue(t.Context(), "work", nil)
		require.NoError(t, err)
		for range 2 {
			require.Equal(t, "of the task", <-heard)
		}
	})
}

func TestAppsRefuseNilMiddleware(t *testing.T) {
	app := worker.NewApp()
	app.UseEnqueue(nil)
	app.UseCall(nil)
	app.UseMethod(nil)
	app.UsePublish(nil)
	app.UseSubscription(nil)
	require.EqualError(t, app.Err(), "nil enqueue middleware\nnil call middleware\nnil method middleware\nnil publish middleware\nnil subscription middleware")
}

// order notes in which order middleware of the same kind runs.
type order struct {
	mu  sync.Mutex
	ran map[string][]string
}

func (o *order) note(kind, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ran[kind] = append(o.ran[kind], name)
}

// use registers middleware of all kinds.
func (o *order) use(app *worker.App, name string) {
	app.Use(func(next tasks.Handler) tasks.Handler {
		return func(ctx context.Context, p json.RawMessage) error { o.note("task", name); return next(ctx, p) }
	})
	app.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
		return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
			o.note("enqueue", name)
			return next(ctx, out)
		}
	})
	app.UseCall(func(next rpcregistry.CallFunc) rpcregistry.CallFunc {
		return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
			o.note("call", name)
			return next(ctx, r)
		}
	})
	app.UseMethod(func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
		return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			o.note("method", name)
			return next(ctx, args)
		}
	})
	app.UsePublish(func(next redisbus.PublishFunc) redisbus.PublishFunc {
		return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
			o.note("publish", name)
			return next(ctx, m)
		}
	})
	app.UseSubscription(func(next redisbus.Handler) redisbus.Handler {
		return func(ctx context.Context, m redisbus.Message) { o.note("subscription", name); next(ctx, m) }
	})
}

func TestOutermostWrapsWhatWasThereBeforeAndOnce(t *testing.T) {
	app, o := worker.NewApp(), &order{ran: map[string][]string{}}
	o.use(app, "second")
	require.True(t, app.Outermost("tracing", func() { o.use(app, "first") }))
	require.False(t, app.Outermost("tracing", func() { o.use(app, "never") }))
	o.use(app, "third")
	heard := make(chan struct{})
	tasks.Handle(app, tasks.Definition{Name: "work"}, func(context.Context, any) error { return nil })
	app.Subscribe("m", func(context.Context, redisbus.Message) { close(heard) })
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1})
	require.Panics(t, func() { app.Outermost("late", func() {}) })
	api := set.Node("stellar-worker-1").API()
	_, err := api.Tasks.EnqueueAndWait(t.Context(), "work", nil, tasks.Options{})
	require.NoError(t, err)
	_, err = api.RPC.DoCluster(t.Context(), "api.ping", nil, rpcregistry.Node("stellar-worker-1"))
	require.NoError(t, err)
	require.NoError(t, api.Bus.Publish(t.Context(), "m", nil))
	<-heard
	for _, kind := range []string{"task", "enqueue", "call", "method", "publish", "subscription"} {
		require.Equal(t, []string{"first", "second", "third"}, o.ran[kind], kind)
	}
}

// Middleware can tell what a transaction will send from what is sent at once.
func TestMiddlewareKnowsWhatBelongsToATransaction(t *testing.T) {
	app := worker.NewApp()
	seen := make(chan bool, 4)
	app.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
		return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
			seen <- out[0].Transaction
			return next(ctx, out)
		}
	})
	app.UsePublish(func(next redisbus.PublishFunc) redisbus.PublishFunc {
		return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
			seen <- m.Transaction
			return next(ctx, m)
		}
	})
	tasks.Handle(app, tasks.Definition{Name: "work"}, func(ctx context.Context, last bool) error {
		if !last {
			tasks.Tx(ctx).Enqueue("work", true)
			tasks.Tx(ctx).Publish("m", nil)
		}
		return nil
	})
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1})
	api := set.Node("stellar-worker-1").API()
	_, err := api.Tasks.EnqueueAndWait(t.Context(), "work", false, tasks.Options{})
	require.NoError(t, err)
	require.NoError(t, api.Bus.Publish(t.Context(), "m", nil))
	require.Equal(t, []bool{false, true, true, false}, []bool{<-seen, <-seen, <-seen, <-seen})
}
