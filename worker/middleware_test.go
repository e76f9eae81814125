package worker_test

import (
	"context"
	"encoding/json"
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
