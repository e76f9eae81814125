package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

type tenantKey struct{}

// tenants puts the tenant of the context into the meta of tasks.
func tenants(next tasks.EnqueueFunc) tasks.EnqueueFunc {
	return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
		for i := range out {
			out[i].Meta = map[string]string{"tenant": ctx.Value(tenantKey{}).(string)}
		}
		return next(ctx, out)
	}
}

func TestEnqueueMiddlewareSeesAndChangesEveryTask(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		var mu sync.Mutex
		var seen [][]tasks.Outgoing
		receipts := map[string][]tasks.Receipt{} // by the name of the call's last task
		r.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
			return func(ctx context.Context, out []tasks.Outgoing) (some []tasks.Receipt, err error) {
				mu.Lock()
				seen = append(seen, append([]tasks.Outgoing{}, out...))
				mu.Unlock()
				if len(out) > 1 {
					out[0].ID = "first"
				}
				out[len(out)-1].Payload = json.RawMessage(`"changed"`)
				some, err = next(ctx, out)
				mu.Lock()
				defer mu.Unlock()
				receipts[out[len(out)-1].Name] = some
				return some, err
			}
		})
		r.UseEnqueue(tenants)
		ran := make(chan tasks.Info, 10)
		tasks.Handle(&r, tasks.Definition{Name: "work", Queue: "own"}, func(ctx context.Context, _ any) error { ran <- tasks.InfoOf(ctx); return nil })
		tasks.Handle(&r, tasks.Definition{Name: "more"}, func(ctx context.Context, _ any) error {
			tasks.Tx(context.WithValue(ctx, tenantKey{}, "tx")).EnqueueWith("work", 7, tasks.Options{ID: "follow-up"})
			return nil
		})
		c := newCluster(t, cfg, &r)
		requests := []tasks.Request{
			{Name: "work", Payload: 1, Then: []tasks.Request{{Name: "work", Payload: json.RawMessage(`[ 2 ]`)}}},
			{Name: "other", Options: tasks.Options{Priority: tasks.High}},
		}
		before := append([]tasks.Request{}, requests...)
		ctx := context.WithValue(t.Context(), tenantKey{}, "acme")
		got, err := c.tasks.EnqueueMany(ctx, requests)
		require.NoError(t, err)
		require.Equal(t, before, requests)
		require.Equal(t, receipts["other"], got)
		require.Equal(t, []tasks.Outgoing{
			{Name: "work", Payload: json.RawMessage("1"), Options: tasks.Options{Queue: "own"}},
			{Name: "work", Payload: json.RawMessage("[ 2 ]"), Options: tasks.Options{Queue: "own"}},
			{Name: "other", Payload: json.RawMessage("null"), Options: tasks.Options{Queue: "default", Priority: tasks.High}},
		}, seen[0])
		require.Equal(t, "first.then.1", got[1].ID)
		require.Equal(t, tasks.Blocked, c.get("first.then.1").State, "it follows the id that the middleware chose")
		require.JSONEq(t, `"changed"`, string(c.get(got[2].ID).Payload))
		for _, receipt := range got {
			require.Equal(t, map[string]string{"tenant": "acme"}, c.get(receipt.ID).Meta)
		}
		c.start(&r, 1)
		receive(t, ran)
		receive(t, ran)

		_, err = c.tasks.Enqueue(ctx, "more", nil)
		require.NoError(t, err)
		info := receive(t, ran)
		require.Equal(t, map[string]string{"tenant": "tx"}, info.Meta)
		require.JSONEq(t, `"changed"`, string(info.Payload))
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []tasks.Receipt{{ID: "follow-up"}}, receipts["work"])
	})
}

func TestEnqueueMiddlewareCanRefuse(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		errNo := errors.New("no tenant")
		var middleware tasks.EnqueueMiddleware
		r.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
			return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
				return middleware(next)(ctx, out)
			}
		})
		tasks.Handle(&r, tasks.Definition{Name: "more", MaxAttempts: 1}, func(ctx context.Context, _ any) error {
			tasks.Tx(ctx).Enqueue("work", nil)
			return nil
		})
		c := newCluster(t, cfg, &r)
		pass := func(next tasks.EnqueueFunc) tasks.EnqueueFunc { return next }
		c.start(&r, 1)
		for says, m := range map[string]tasks.EnqueueMiddleware{
			"no tenant": func(tasks.EnqueueFunc) tasks.EnqueueFunc {
				return func(context.Context, []tasks.Outgoing) ([]tasks.Receipt, error) { return nil, errNo }
			},
			"enqueue middleware made 2 tasks of 1": func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
				return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
					return next(ctx, append(out, out...))
				}
			},
			"enqueue middleware ": func(tasks.EnqueueFunc) tasks.EnqueueFunc { // neither stored it nor says why
				return func(context.Context, []tasks.Outgoing) ([]tasks.Receipt, error) { return nil, nil }
			},
		} {
			middleware = m
			_, err := c.tasks.Enqueue(t.Context(), "work", nil)
			require.ErrorContains(t, err, says)
			middleware = pass
			id := c.enqueue("more", tasks.Options{In: 1}) // due once the mover looks
			middleware = m
			require.NoError(t, c.inspector.Reschedule(t.Context(), id, c.get(id).Enqueued))
			c.eventually("dead", func() bool { return c.get(id).State == tasks.Dead })
			require.Contains(t, c.get(id).Reason.Error, says)
		}
		middleware = func(tasks.EnqueueFunc) tasks.EnqueueFunc {
			return func(context.Context, []tasks.Outgoing) ([]tasks.Receipt, error) { return nil, errNo }
		}
		_, err := c.tasks.Enqueue(t.Context(), "work", nil)
		require.ErrorIs(t, err, errNo)
		require.Zero(t, c.counts().Pending)
	})
}
