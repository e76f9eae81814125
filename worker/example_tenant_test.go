package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// customerKey is the context key of the customer for whom something is done.
type customerKey struct{}

// customerOf returns the context's customer.
func customerOf(ctx context.Context) string {
	customer, _ := ctx.Value(customerKey{}).(string)
	return customer
}

// forCustomer returns a context with the customer that the meta names.
func forCustomer(ctx context.Context, meta map[string]string) context.Context {
	return context.WithValue(ctx, customerKey{}, meta["customer"])
}

// addCustomer returns a copy of the meta that names the context's customer.
func addCustomer(ctx context.Context, meta map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, meta)
	out["customer"] = customerOf(ctx)
	return out
}

// carryCustomers has the customer travel along with calls, tasks and messages: beside
// them in their meta, and in the context of what handles them.
func carryCustomers(app *worker.App) {
	app.UseCall(func(next rpcregistry.CallFunc) rpcregistry.CallFunc {
		return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
			r.Meta = addCustomer(ctx, r.Meta)
			return next(ctx, r)
		}
	})
	app.UseMethod(func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
		return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			return next(forCustomer(ctx, rpcregistry.FromContext(ctx).Meta), args)
		}
	})
	app.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
		return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
			for i := range out {
				out[i].Meta = addCustomer(ctx, out[i].Meta)
			}
			return next(ctx, out)
		}
	})
	app.Use(func(next tasks.Handler) tasks.Handler {
		return func(ctx context.Context, payload json.RawMessage) error {
			return next(forCustomer(ctx, tasks.InfoOf(ctx).Meta), payload)
		}
	})
	app.UsePublish(func(next redisbus.PublishFunc) redisbus.PublishFunc {
		return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
			m.Meta = addCustomer(ctx, m.Meta)
			return next(ctx, m)
		}
	})
	app.UseSubscription(func(next redisbus.Handler) redisbus.Handler {
		return func(ctx context.Context, m redisbus.Message) { next(forCustomer(ctx, m.Meta), m) }
	})
}

// A customer's name travels from a call through a task into a message. What calls,
// handles and hears it needs to know nothing of that.
func Example_meta() {
	app := worker.NewApp()
	carryCustomers(app)
	rpcregistry.Handle(app, "api.order", func(ctx context.Context, item string) (string, error) {
		fmt.Println("ordered by", customerOf(ctx))
		receipt, err := worker.FromContext(ctx).Tasks.Enqueue(ctx, "ship", item)
		return receipt.ID, err
	})
	tasks.Handle(app, tasks.Definition{Name: "ship"}, func(ctx context.Context, item string) error {
		fmt.Println("shipped to", customerOf(ctx))
		tasks.Tx(ctx).Publish("shipped", item)
		return nil
	})
	heard := make(chan string)
	app.Subscribe("shipped", func(ctx context.Context, _ redisbus.Message) { heard <- customerOf(ctx) })

	serve(app, func(ctx context.Context, api *worker.API) {
		ctx = context.WithValue(ctx, customerKey{}, "acme")
		_, err := api.RPC.DoCluster(ctx, "api.order", "a lamp", rpcregistry.All())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("heard of", <-heard)
	})
	// Output:
	// ordered by acme
	// shipped to acme
	// heard of acme
}
