package rpcregistry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var token = link.NewSecret("0123456789abcdef0123456789abcdef")

// members is a list of the living that tests change.
type members struct {
	mu   sync.Mutex
	live []redisbus.Identity
	err  error
}

func (m *members) Live(context.Context) ([]redisbus.Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]redisbus.Identity(nil), m.live...), m.err
}

func (m *members) set(live ...redisbus.Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = live
}

func (m *members) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// cluster is some nodes that share a list of members.
type cluster struct {
	t       testing.TB
	cfg     link.Config
	members *members
	stops   []func() error
}

// stopAll stops all nodes, before a bubble ends.
func (c *cluster) stopAll() {
	for _, stop := range c.stops {
		require.NoError(c.t, stop())
	}
}

func newCluster(t testing.TB, cfg link.Config) *cluster {
	t.Helper()
	return &cluster{t: t, cfg: cfg, members: &members{}}
}

type node struct {
	*rpcregistry.Endpoint
	bus  *redisbus.Bus
	self redisbus.Identity
	stop func() error
}

func identity(id string) redisbus.Identity {
	return redisbus.Identity{ID: id, Incarnation: id + "#1:aa"}
}

// join starts a node that answers the registry's methods.
func (c *cluster) join(id string, r *rpcregistry.Registry, change ...func(*rpcregistry.Config)) *node {
	c.t.Helper()
	n := c.start(id, r, false, change...)
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	c.members.live = append(c.members.live, n.self)
	return n
}

func (c *cluster) start(id string, r *rpcregistry.Registry, command bool, change ...func(*rpcregistry.Config)) *node {
	c.t.Helper()
	conns, err := link.Open(c.cfg, id)
	require.NoError(c.t, err)
	n := &node{self: identity(id)}
	n.bus, err = redisbus.NewBus(redisbus.BusConfig{
		Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: c.cfg.Keys(), Token: token, Identity: n.self,
		InboxOnly: command, Log: zerolog.Nop(),
	})
	require.NoError(c.t, err)
	cfg := rpcregistry.Config{Bus: n.bus, Registry: r, Members: c.members, Log: zerolog.Nop()}
	for _, f := range change {
		f(&cfg)
	}
	n.Endpoint, err = rpcregistry.New(cfg)
	require.NoError(c.t, err)
	n.stop = serve(n.bus, n.Endpoint)
	c.stops = append(c.stops, n.stop)
	c.t.Cleanup(func() {
		if err := n.stop(); !errors.As(err, new(*redisbus.StuckError)) {
			require.NoError(c.t, err)
		}
		require.Zero(c.t, n.Stats().Running)
		require.Zero(c.t, n.Stats().Waiting, "a call is left behind")
		_ = conns.Close()
	})
	<-n.bus.Ready()
	<-n.Ready()
	return n
}

type service interface {
	Serve(ctx context.Context) error
}

// serve serves both, the endpoint inside the bus's life.
func serve(bus, endpoint service) (stop func() error) {
	outer, stopBus := context.WithCancel(context.Background())
	inner, stopEndpoint := context.WithCancel(context.Background())
	buses, endpoints := make(chan error, 1), make(chan error, 1)
	go func() { buses <- bus.Serve(outer) }()
	go func() { endpoints <- endpoint.Serve(inner) }()
	return sync.OnceValue(func() error {
		stopEndpoint()
		err := <-endpoints
		stopBus()
		return errors.Join(err, <-buses)
	})
}

type echoArgs struct {
	Text string `json:"text"`
}

// methods that the scenarios call.
func methods() *rpcregistry.Registry {
	r := rpcregistry.NewRegistry()
	rpcregistry.Handle(r, "echo", func(_ context.Context, a echoArgs) (string, error) { return a.Text, nil })
	rpcregistry.Handle(r, "fail", func(context.Context, any) (any, error) { return nil, errors.New("no luck") })
	rpcregistry.Handle(r, "code", func(context.Context, any) (any, error) {
		return nil, fmt.Errorf("%w: box 7", rpcregistry.Code("no_mailbox"))
	})
	rpcregistry.Handle(r, "panic", func(context.Context, any) (any, error) { panic(errors.New("boom")) })
	rpcregistry.Handle(r, "exit", func(context.Context, any) (any, error) { runtime.Goexit(); return nil, nil })
	rpcregistry.Handle(r, "wait", func(ctx context.Context, _ any) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
	rpcregistry.Handle(r, "nothing", func(context.Context, any) (json.RawMessage, error) { return nil, nil })
	return r
}

func TestCallOfOneNode(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		a, b := c.join("a", nil), c.join("b", methods())
		got, err := rpcregistry.Do[string](t.Context(), a.Endpoint, "echo", echoArgs{"hi <&>"}, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Equal(t, "hi <&>", got)
		got, err = rpcregistry.Do[string](t.Context(), b.Endpoint, "echo", []any{"self"}, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Equal(t, "self", got)
		r, err := a.DoCluster(t.Context(), "nothing", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Nil(t, r.Value)
		require.Equal(t, b.self, r.From)
	})
}

func TestErrorsCrossWithTheirCode(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		r := methods()
		r.Deny("secret.*")
		a, _ := c.join("a", nil), c.join("b", r)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for method, want := range map[string]struct {
			code rpcregistry.Code
			text string
		}{
			"fail":        {rpcregistry.ErrFailed, "no luck"},
			"code":        {"no_mailbox", "box 7"},
			"panic":       {rpcregistry.ErrPanicked, "boom"},
			"exit":        {rpcregistry.ErrPanicked, ""},
			"unknown":     {rpcregistry.ErrNoSuchMethod, ""},
			"secret.file": {rpcregistry.ErrDenied, ""},
		} {
			_, err := a.DoCluster(ctx, method, nil, rpcregistry.Node("b"))
			require.ErrorIs(t, err, want.code, method)
			var e *rpcregistry.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, rpcregistry.Error{Code: want.code, Message: want.text, Node: "b", Method: method}, *e)
		}
		_, err := a.DoCluster(ctx, "echo", []any{"1", "2"}, rpcregistry.Node("b"))
		require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
		_, err = a.DoCluster(ctx, "echo", nil, rpcregistry.Node("nobody"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
		_, err = a.DoCluster(ctx, "echo", nil, rpcregistry.Connection("none"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchConnection)
		require.NoError(t, ctx.Err(), "something waited for the deadline")
	})
}

func TestCallOfAllTakesTheFirstAnswer(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		a, _, b := c.join("a", nil), c.join("x", nil), c.join("b", methods())
		r, err := a.DoCluster(t.Context(), "echo", []any{"hi"}, rpcregistry.All())
		require.NoError(t, err)
		require.Equal(t, b.self, r.From, "a node without the method must not answer for the others")
		_, err = a.DoCluster(t.Context(), "unknown", nil, rpcregistry.All())
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchMethod)
	})
}

func TestVerdictsOfAllMembers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		denying := methods()
		denying.Deny("*o")
		a := c.join("a", nil)
		c.join("b", methods())
		c.join("c", denying)
		command := c.start("cli", nil, true)
		for _, caller := range []*node{a, command} {
			verdicts, err := caller.DoAll(t.Context(), "echo", echoArgs{"hi"})
			require.NoError(t, err)
			var got []string
			for _, v := range verdicts {
				got = append(got, v.Node.ID+" "+v.Outcome()+" "+string(v.Value))
			}
			require.Equal(t, []string{"a no such method ", `b value "hi"`, "c denied "}, got)
		}
	})
}

func TestCastAsksForNoReply(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		ran := make(chan string, 10)
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "note", func(ctx context.Context, text string) (string, error) {
			call := rpcregistry.FromContext(ctx)
			ran <- call.From.ID + text
			return "nobody reads this", nil
		})
		a, _ := c.join("a", r), c.join("b", r)
		require.NoError(t, a.Cast(t.Context(), "note", []any{"1"}, rpcregistry.All()))
		require.Equal(t, "a1", <-ran)
		require.Equal(t, "a1", <-ran)
		require.NoError(t, a.Cast(t.Context(), "note", "2", rpcregistry.Node("b")))
		require.Equal(t, "a2", <-ran)
		require.ErrorIs(t, a.Cast(t.Context(), "note", nil, rpcregistry.Node("nobody")), rpcregistry.ErrNoSuchTarget)
		_, err := a.DoCluster(t.Context(), "api.ping", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Zero(t, a.Stats().Stray, "somebody replied")
	})
}

func TestNodeDownEndsTheCallsThatWaitForIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		a, b := c.join("a", nil), c.join("b", methods())
		ended := make(chan error, 2)
		go func() {
			_, err := a.DoCluster(t.Context(), "wait", nil, rpcregistry.Node("b"))
			ended <- err
		}()
		go func() {
			verdicts, err := a.DoAll(t.Context(), "wait", nil)
			if len(verdicts) != 2 || verdicts[1].Outcome() != rpcregistry.OutcomeLeft {
				err = fmt.Errorf("%v %w", verdicts, err)
			}
			ended <- err
		}()
		require.Eventually(t, func() bool { return b.Stats().Running == 2 }, time.Minute, time.Millisecond)
		a.NodeDown(identity("other"))
		require.Empty(t, ended)
		a.NodeDown(b.self)
		first, second := <-ended, <-ended
		if first == nil {
			first, second = second, first
		}
		require.ErrorIs(t, first, rpcregistry.ErrNodeDown)
		require.ErrorIs(t, first, link.ErrUnknownOutcome)
		require.NoError(t, second)
	})
}

func TestTheDeadlineTravels(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		left := make(chan time.Duration, 1)
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "wait", func(ctx context.Context, _ any) (any, error) {
			at, _ := ctx.Deadline()
			left <- time.Until(at)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		a, _ := c.join("a", nil), c.join("b", r)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := a.DoCluster(ctx, "wait", nil, rpcregistry.Node("b"))
		require.ErrorIs(t, err, rpcregistry.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, link.ErrUnknownOutcome)
		require.InDelta(t, 200, (<-left).Milliseconds(), 100)
	})
}

func TestACancelledCallerStopsAtOnce(t *testing.T) {
	c := newCluster(t, redistest.Embedded(t).Config())
	a, b := c.join("a", nil), c.join("b", methods())
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for b.Stats().Running == 0 {
			runtime.Gosched()
		}
		cancel(errors.New("enough"))
	}()
	_, err := a.DoCluster(ctx, "wait", nil, rpcregistry.Node("b"))
	require.ErrorContains(t, err, "enough")
	require.ErrorIs(t, err, link.ErrUnknownOutcome)
}
