package rpcregistry_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/rpcregistry"
)

// tenantKey is the context key of the tenant that a request is for.
type tenantKey struct{}

// The tenant of the caller's context travels in the call's meta: call middleware
// sends it, and method middleware puts it into the method's context. A worker.App
// takes them by app.UseCall and app.UseMethod.
func ExampleCallMiddleware() {
	send := func(next rpcregistry.CallFunc) rpcregistry.CallFunc {
		return func(ctx context.Context, r rpcregistry.Request) (rpcregistry.Result, error) {
			if tenant, ok := ctx.Value(tenantKey{}).(string); ok {
				r.Meta = map[string]string{"tenant": tenant}
			}
			return next(ctx, r)
		}
	}
	receive := func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
		return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			if tenant, ok := rpcregistry.FromContext(ctx).Meta["tenant"]; ok {
				ctx = context.WithValue(ctx, tenantKey{}, tenant)
			}
			return next(ctx, args)
		}
	}
	nodes, stop := exampleNodesWith(embedded.New(), func(c *rpcregistry.Config) {
		c.CallMiddleware = []rpcregistry.CallMiddleware{send}
		c.MethodMiddleware = []rpcregistry.MethodMiddleware{receive}
		rpcregistry.Handle(c.Registry, "tenant.name", func(ctx context.Context, _ struct{}) (any, error) {
			return ctx.Value(tenantKey{}), nil
		})
	}, "one", "two")
	defer stop()
	ctx := context.WithValue(context.Background(), tenantKey{}, "shop-7")
	fmt.Println(rpcregistry.Do[string](ctx, nodes[0], "tenant.name", nil, rpcregistry.Node("two")))
	// Output: shop-7 <nil>
}

// A node that answers only calls that name a tenant, and the built-in methods.
func ExampleMethodMiddleware() {
	demandTenant := func(next rpcregistry.MethodFunc) rpcregistry.MethodFunc {
		return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			call := rpcregistry.FromContext(ctx)
			if call.Meta["tenant"] == "" && call.Method != "api.ping" {
				return nil, fmt.Errorf("%w: which tenant?", rpcregistry.ErrDenied)
			}
			return next(ctx, args)
		}
	}
	nodes, stop := exampleNodesWith(embedded.New(), func(c *rpcregistry.Config) {
		c.MethodMiddleware = []rpcregistry.MethodMiddleware{demandTenant}
	}, "one", "two")
	defer stop()
	ctx, two := context.Background(), rpcregistry.Node("two")
	_, err := nodes[0].DoCluster(ctx, "math.add", Sum{A: 1, B: 2}, two)
	fmt.Println(err)
	sum, err := rpcregistry.DoWith[int](ctx, nodes[0], "math.add", Sum{A: 1, B: 2}, two,
		rpcregistry.CallOptions{Meta: map[string]string{"tenant": "shop-7"}})
	fmt.Println(sum, err)
	// Output:
	// call of math.add on two: denied: "which tenant?"
	// 3 <nil>
}
