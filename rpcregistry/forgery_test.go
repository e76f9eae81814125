package rpcregistry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

// spy hears the calls that reach a node and tells their ids.
func spy(n *node) <-chan string {
	ids := make(chan string, 100)
	n.bus.Subscribe("call", func(_ context.Context, m redisbus.Message) {
		var c struct{ ID string }
		_ = m.Decode(&c)
		ids <- c.ID
	}, redisbus.SubscribeOptions{})
	return ids
}

func value(id, text string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"id":%q,"value":%q}`, id, text))
}

func TestOnlyTheFirstReplyOfTheRightNodeCounts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		a, b, stranger := c.join("a", nil), c.join("b", methods()), c.join("c", nil)
		ids := spy(b)
		got := make(chan string, 1)
		go func() {
			text, err := rpcregistry.Do[string](t.Context(), a.Endpoint, "wait", nil, rpcregistry.Node("b"))
			got <- fmt.Sprint(text, err)
		}()
		id := <-ids
		require.Len(t, id, 22, "128 bits in base64url")
		send := func(from *node, node string, body json.RawMessage) {
			_, err := from.bus.Send(t.Context(), node, "reply", body)
			require.NoError(t, err)
		}
		send(stranger, "a", value(id, "forged"))
		send(b, "a", value("AAAAAAAAAAAAAAAAAAAAAA", "another call's"))
		send(b, "a", json.RawMessage(`{"value":1}`))
		send(b, "a", json.RawMessage(`[]`))
		require.NoError(t, b.bus.Publish(t.Context(), "reply", value(id, "to everybody")))
		send(b, "a", value(id, "first"))
		send(b, "a", value(id, "second"))
		require.Equal(t, "first<nil>", <-got)
		send(b, "a", value(id, "late"))
		require.Eventually(t, func() bool { s := a.Stats(); return s.Stray == 5 && s.Malformed == 2 }, time.Minute, time.Millisecond, a.Stats())
		require.Zero(t, a.Stats().Waiting)
	})
}

func TestCallsThatCannotRunAreDropped(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		ran := make(chan string, 10)
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "run", func(_ context.Context, text string) (any, error) { ran <- text; return nil, nil })
		a, b := c.join("a", nil), c.join("b", r)
		call := func(body string) {
			_, err := a.bus.Send(t.Context(), "b", "call", json.RawMessage(body))
			require.NoError(t, err)
		}
		now := time.Now().UnixMilli()
		call(fmt.Sprintf(`{"method":"run","deadline":%d,"args":"expired"}`, now-1))
		call(`{"method":"run","args":"no deadline"}`)
		call(fmt.Sprintf(`{"method":7,"deadline":%d}`, now+5000))
		call(fmt.Sprintf(`{"deadline":%d}`, now+5000))
		call(`"x"`)
		call(fmt.Sprintf(`{"method":"run","deadline":%d,"args":"fine"}`, now+5000))
		require.Equal(t, "fine", <-ran)
		require.Empty(t, ran)
		require.Eventually(t, func() bool { return b.Stats().Running == 0 }, time.Minute, time.Millisecond)
		require.Equal(t, rpcregistry.Stats{Calls: 1, Expired: 1, Malformed: 4}, b.Stats())
	})
}

func TestABusyNodeSaysSo(t *testing.T) {
	c := newCluster(t, redistest.Embedded(t).Config())
	a := c.join("a", nil)
	b := c.join("b", methods(), func(c *rpcregistry.Config) { c.MaxCalls = 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range 2 {
		waiting.Go(func() { _, _ = a.DoCluster(ctx, "wait", nil, rpcregistry.Node("b")) })
	}
	require.Eventually(t, func() bool { return b.Stats().Running == 2 }, time.Minute, time.Millisecond)
	_, err := a.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("b"))
	require.ErrorIs(t, err, rpcregistry.ErrBusy)
	cancel()
	waiting.Wait()
}

func TestWhatIsTooLargeIsToldToTheCaller(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		r := methods()
		rpcregistry.Handle(r, "large", func(context.Context, any) (string, error) { return strings.Repeat("x", redisbus.MaxMessage), nil })
		rpcregistry.Handle(r, "deep", func(context.Context, any) (json.RawMessage, error) {
			return json.RawMessage(strings.Repeat("[", 31) + strings.Repeat("]", 31)), nil
		})
		rpcregistry.Handle(r, "broken", func(context.Context, any) (json.RawMessage, error) { return json.RawMessage(`{`), nil })
		rpcregistry.Handle(r, "unsayable", func(context.Context, any) (func(), error) { return func() {}, nil })
		rpcregistry.Handle(r, "verbose", func(context.Context, any) (any, error) {
			return nil, fmt.Errorf("%s", strings.Repeat("\x00", redisbus.MaxMessage))
		})
		a, _ := c.join("a", nil), c.join("b", r)
		for method, want := range map[string]rpcregistry.Code{
			"large": rpcregistry.ErrTooLarge, "deep": rpcregistry.ErrFailed, "broken": rpcregistry.ErrFailed, "unsayable": rpcregistry.ErrFailed, "verbose": rpcregistry.ErrFailed,
		} {
			_, err := a.DoCluster(t.Context(), method, nil, rpcregistry.Node("b"))
			require.ErrorIs(t, err, want, method)
			require.NotErrorIs(t, err, rpcregistry.ErrTimeout)
		}
		for _, to := range []rpcregistry.Target{rpcregistry.Node("b"), rpcregistry.All()} {
			_, err := a.DoCluster(t.Context(), "echo", strings.Repeat("x", redisbus.MaxMessage), to)
			require.ErrorIs(t, err, rpcregistry.ErrTooLarge)
			require.ErrorIs(t, a.Cast(t.Context(), "echo", strings.Repeat("x", redisbus.MaxMessage), to), rpcregistry.ErrTooLarge)
		}
		_, err := a.DoAll(t.Context(), "echo", strings.Repeat("x", redisbus.MaxMessage))
		require.ErrorIs(t, err, rpcregistry.ErrTooLarge)
		for _, args := range []any{func() {}, json.RawMessage(`{`), json.RawMessage(`{"a":1,"a":2}`)} {
			_, err := a.DoCluster(t.Context(), "echo", args, rpcregistry.Node("b"))
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
		}
		_, err = a.DoCluster(t.Context(), "bad name", nil, rpcregistry.All())
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchMethod)
		_, err = a.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("bad\nname"))
		require.ErrorIs(t, err, rpcregistry.ErrNoSuchTarget)
	})
}

// A member that says nothing, one that leaves and one that panics, on virtual time.
func TestVerdictsOfThoseWhoDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		c := newCluster(t, server.Config())
		panicking, slow := rpcregistry.NewRegistry(), rpcregistry.NewRegistry()
		rpcregistry.Handle(panicking, "ask", func(context.Context, any) (any, error) { panic("no") })
		rpcregistry.Handle(slow, "ask", func(context.Context, any) (string, error) { time.Sleep(time.Hour); return "late", nil })
		a, _ := c.join("a", panicking), c.join("b", slow)
		b := c.members.live[1]
		gone := redisbus.Identity{ID: "gone", Incarnation: "gone#1:x"}
		c.members.set(a.self, b, gone)

		began := time.Now()
		ask := func(ctx context.Context) (words []string) {
			verdicts, err := a.DoAll(ctx, "ask", nil)
			require.NoError(t, err)
			for _, v := range verdicts {
				words = append(words, v.Node.ID+" "+v.Outcome())
			}
			return words
		}
		require.Equal(t, []string{"a panic", "b silent", "gone silent"}, ask(t.Context()))
		require.Equal(t, rpcregistry.DefaultTimeout, time.Since(began), "it ends with the timeout")

		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		go func() {
			time.Sleep(1500 * time.Millisecond)
			c.members.set(a.self)
		}()
		require.Equal(t, []string{"a panic", "b left", "gone left"}, ask(ctx))
		require.Equal(t, 2*time.Second, time.Since(began), "it does not wait for the dead")

		c.members.set()
		began = time.Now()
		require.Subset(t, []string{"a panic"}, ask(ctx), "it may have answered already")
		require.Equal(t, began, time.Now(), "without members there is nobody to wait for")
		c.members.set(b)
		require.Equal(t, []string{"a panic", "b silent"}, ask(ctx), "who is no member but answers in time counts")
		c.members.fail(link.ErrUnavailable)
		_, err := a.DoAll(ctx, "ask", nil)
		require.ErrorIs(t, err, rpcregistry.ErrUnavailable)
		require.ErrorIs(t, err, link.ErrUnavailable)
		c.members.fail(nil)
		c.members.set(b)
		cancelled, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		_, err = a.DoAll(cancelled, "ask", nil)
		require.ErrorIs(t, err, context.Canceled)
		time.Sleep(2 * time.Hour) // the slow ones end
		c.stopAll()
	})
}

func TestAnEndpointStopsWithItsMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		c := newCluster(t, server.Config())
		r := methods()
		release := make(chan struct{})
		rpcregistry.Handle(r, "rude", func(context.Context, any) (any, error) { <-release; return nil, nil })
		a, b := c.join("a", nil), c.join("b", r)
		answers := make(chan error, 3)
		for _, method := range []string{"wait", "rude"} {
			go func() {
				_, err := a.DoCluster(t.Context(), method, nil, rpcregistry.Node("b"))
				answers <- err
			}()
		}
		synctest.Wait()
		require.Equal(t, 2, b.Stats().Running)
		time.AfterFunc(time.Second, func() {
			_, err := a.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("b"))
			answers <- err
		})
		var stuck *redisbus.StuckError
		require.ErrorAs(t, b.stop(), &stuck)
		require.Equal(t, []string{"rude"}, stuck.Handlers)
		require.ErrorIs(t, <-answers, rpcregistry.ErrNodeDown, "a method that is cancelled still answers")
		require.ErrorIs(t, <-answers, rpcregistry.ErrBusy, "a node that stops says so")
		require.ErrorIs(t, <-answers, rpcregistry.ErrTimeout)
		close(release)
		synctest.Wait()
		require.NoError(t, a.stop())
	})
}

func TestAMethodsContextIsALightOneAndBehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		c := newCluster(t, server.Config())
		type key struct{}
		base, stopBase := context.WithCancelCause(context.WithValue(context.Background(), key{}, "node"))
		var kept context.Context
		r := rpcregistry.NewRegistry()
		rpcregistry.Handle(r, "look", func(ctx context.Context, _ any) (any, error) {
			kept = ctx //nolint:fatcontext // to look at it when the method has returned
			require.NoError(t, ctx.Err())
			require.Equal(t, "node", ctx.Value(key{}))
			at, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, time.Second, time.Until(at))
			synctest.Wait() // until no other goroutine is about to end
			before := runtime.NumGoroutine()
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			require.Equal(t, before, runtime.NumGoroutine(), "a child context needs no goroutine")
			require.True(t, rpcregistry.InCall(child))
			call := rpcregistry.FromContext(child)
			require.Equal(t, "look", call.Method)
			require.Equal(t, "a", call.From.ID)
			return nil, nil
		})
		a, b := c.join("a", nil), c.join("b", r, func(c *rpcregistry.Config) { c.BaseContext = func() context.Context { return base } })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.DoCluster(ctx, "look", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.ErrorIs(t, kept.Err(), context.Canceled, "it ends with the method")
		<-kept.Done()
		stopBase(nil)
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		require.False(t, rpcregistry.InCall(context.Background()))
		require.PanicsWithError(t, rpcregistry.ErrNoCall.Error(), func() { rpcregistry.FromContext(context.Background()) })
	})
}

func TestBuiltins(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg)
		var mu sync.Mutex
		var log bytes.Buffer
		own := rpcregistry.NewRegistry()
		rpcregistry.Handle(own, "api.methods", func(context.Context, any) (string, error) { return "my own", nil })
		a := c.join("a", own)
		b := c.join("b", nil, func(c *rpcregistry.Config) {
			c.Log = zerolog.New(writer(func(p []byte) { mu.Lock(); defer mu.Unlock(); log.Write(p) }))
		})
		ctx := t.Context()
		pong, err := rpcregistry.Do[rpcregistry.Pong](ctx, a.Endpoint, "api.ping", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Equal(t, b.self.ID, pong.Node)
		require.Equal(t, b.self.Incarnation, pong.Incarnation)
		require.WithinDuration(t, time.Now(), pong.At, 5*time.Second)

		list, err := rpcregistry.Do[[]rpcregistry.MethodInfo](ctx, a.Endpoint, "api.methods", nil, rpcregistry.Node("b"))
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, rpcregistry.MethodInfo{Name: "api.log", Arguments: "{text: string, severity?: string, data?: any}", Result: "{}"}, list[0])
		mine, err := rpcregistry.Do[string](ctx, b.Endpoint, "api.methods", nil, rpcregistry.Node("a"))
		require.NoError(t, err)
		require.Equal(t, "my own", mine)

		for method, args := range map[string]string{
			"api.ping": `{"frob":1}`, "api.methods": `[{"frob":1}]`, "api.log": `{"text":"x","sevrity":"warn"}`,
		} {
			_, err = a.DoCluster(ctx, method, json.RawMessage(args), rpcregistry.Node("b"))
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments, method)
		}
		for _, args := range []any{nil, []any{}, []any{""}, []any{"", "warn"}, map[string]any{"severity": "warn"}} {
			_, err = a.DoCluster(ctx, "api.log", args, rpcregistry.Node("b"))
			require.ErrorContains(t, err, "text is empty: write [", "%v", args)
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
		}
		for _, args := range [][]any{
			{"evil\n\x1b[31m text"}, {"warned", "warn"}, {"no panic", "panic"}, {"nonsense", "x"}, {"off", "disabled"},
			{"as the original", "warning", map[string]any{"a": []int{1}}}, {"two", "crit", nil}, {"three", "notice", 1, "x\n"}, {"four", "emerg"},
		} {
			_, err = a.DoCluster(ctx, "api.log", args, rpcregistry.Node("b"))
			require.NoError(t, err)
		}
		mu.Lock()
		defer mu.Unlock()
		var lines []string
		for line := range strings.Lines(log.String()) {
			lines = append(lines, strings.TrimSpace(line))
		}
		require.Equal(t, []string{
			`{"level":"info","from":"a","text":"evil\n\u001b[31m text","message":"api.log"}`,
			`{"level":"warn","from":"a","text":"warned","message":"api.log"}`,
			`{"level":"error","from":"a","text":"no panic","message":"api.log"}`,
			`{"level":"info","from":"a","text":"nonsense","severity":"x","message":"api.log"}`,
			`{"level":"info","from":"a","text":"off","severity":"disabled","message":"api.log"}`,
			`{"level":"warn","from":"a","text":"as the original","data":{"a":[1]},"message":"api.log"}`,
			`{"level":"error","from":"a","text":"two","message":"api.log"}`,
			`{"level":"info","from":"a","text":"three","data":[1,"x\n"],"message":"api.log"}`,
			`{"level":"error","from":"a","text":"four","message":"api.log"}`,
		}, lines)
	})
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func TestNewRefuses(t *testing.T) {
	_, err := rpcregistry.New(rpcregistry.Config{})
	require.Error(t, err)
	c := newCluster(t, redistest.Embedded(t).Config())
	a := c.join("a", nil)
	bad := rpcregistry.NewRegistry()
	bad.Deny("a b")
	_, err = rpcregistry.New(rpcregistry.Config{Bus: a.bus, Registry: bad})
	require.ErrorContains(t, err, `"a b"`)
	require.ErrorIs(t, a.Serve(t.Context()), rpcregistry.ErrServing)
	_, err = rpcregistry.New(rpcregistry.Config{
		Bus: a.bus, CallMiddleware: []rpcregistry.CallMiddleware{nil}, MethodMiddleware: []rpcregistry.MethodMiddleware{nil},
	})
	require.ErrorContains(t, err, "nil call middleware\nnil method middleware")
	loner, err := rpcregistry.New(rpcregistry.Config{Bus: a.bus})
	require.NoError(t, err)
	_, err = loner.DoAll(t.Context(), "x", nil)
	require.ErrorIs(t, err, rpcregistry.ErrUnavailable)
}

func TestAFloodOfOneCallerLeavesRoomForOthersAndForControl(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		t.Parallel()
		c := newCluster(t, cfg)
		r := methods()
		rpcregistry.Handle(rpcregistry.Control(r), "stop", func(context.Context, struct{}) (string, error) { return "stops", nil })
		flooder, other := c.join("a", nil), c.join("b", nil)
		victim := c.join("c", r, func(c *rpcregistry.Config) { c.MaxCalls = 16 })
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		flood := func(method string, n int) {
			for range n {
				calls.Go(func() { _, _ = flooder.DoCluster(ctx, method, nil, rpcregistry.Node("c")) })
			}
		}
		flood("wait", 100)
		require.Eventually(t, func() bool { return victim.Stats().Running == 12 }, time.Minute, time.Millisecond)
		_, err := flooder.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("c"))
		require.ErrorIs(t, err, rpcregistry.ErrBusy, "it has its share")
		for range 20 {
			_, err = other.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("c"))
			require.NoError(t, err, "another caller has room")
			for method, args := range map[string]any{"api.ping": nil, "api.log": []string{"text"}, "api.methods": nil, "stop": nil} {
				_, err = flooder.DoCluster(t.Context(), method, args, rpcregistry.Node("c"))
				require.NoError(t, err, "%s has slots of its own", method)
			}
		}
		cancel()
		calls.Wait()
		require.Eventually(t, func() bool { return victim.Stats().Running == 0 }, time.Minute, time.Millisecond)
		_, err = flooder.DoCluster(t.Context(), "echo", nil, rpcregistry.Node("c"))
		require.NoError(t, err, "its slots are free again")
	})
}
