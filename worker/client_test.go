package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// road is a way to a Redis that can be closed.
type road struct {
	to     func(context.Context) (net.Conn, error)
	closed atomic.Bool
	dials  atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
}

// throughRoad returns the configuration with a road to its Redis.
func throughRoad(cfg link.Config) (link.Config, *road) {
	r := &road{to: cfg.Dial}
	if r.to == nil {
		path := strings.TrimPrefix(cfg.URL, "unix://")
		r.to = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) }
	}
	cfg.Dial = r.dial
	return cfg, r
}

func (r *road) dial(ctx context.Context) (net.Conn, error) {
	r.dials.Add(1)
	if r.closed.Load() {
		return nil, link.DialError(errors.New("the road is closed"))
	}
	conn, err := r.to(ctx)
	if err == nil {
		r.mu.Lock()
		r.conns = append(r.conns, conn)
		r.mu.Unlock()
	}
	return conn, err
}

// clientApp is an app whose task and method answer, and whose method api.hang does
// not until the test is over.
func clientApp() (app *worker.App, hanging, heard chan string) {
	app, hanging, heard = worker.NewApp(), make(chan string, 100), make(chan string, 100)
	tasks.Handle(app, tasks.Definition{Name: "double", Queue: "sums", Retention: time.Minute}, func(ctx context.Context, in int) error {
		tasks.Tx(ctx).Result(2 * in)
		return nil
	})
	rpcregistry.Handle(app, "api.greet", func(ctx context.Context, name string) (string, error) {
		return worker.FromContext(ctx).ID() + " greets " + name, nil
	})
	rpcregistry.Handle(app, "api.hang", func(ctx context.Context, _ struct{}) (struct{}, error) {
		hanging <- worker.FromContext(ctx).ID()
		<-ctx.Done()
		return struct{}{}, ctx.Err()
	})
	app.Subscribe("news", func(_ context.Context, m redisbus.Message) { heard <- m.Sender().ID })
	return app, hanging, heard
}

func connect(t *testing.T, cfg worker.ClientConfig) *worker.Client {
	t.Helper()
	client, err := worker.ConnectWith(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// use does with a client everything that needs a node.
func use(ctx context.Context, client *worker.Client, n int) error {
	result, err := client.Tasks.EnqueueAndWait(ctx, "double", n, tasks.Options{})
	if err != nil || string(result) != fmt.Sprint(2*n) {
		return fmt.Errorf("task: %s: %w", result, err)
	}
	greeting, err := rpcregistry.Do[string](ctx, client.RPC, "api.greet", "you", rpcregistry.Node("stellar-worker-2"))
	if err != nil || greeting != "stellar-worker-2 greets you" {
		return fmt.Errorf("call: %s: %w", greeting, err)
	}
	return nil
}

func TestAClientDoesWhatANodesAPIDoesAndIsNoMember(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		before := goleak.IgnoreCurrent()
		app, _, heard := clientApp()
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: at})
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		client, err := worker.Connect(ctx, at, app)
		require.NoError(t, err)

		require.NoError(t, use(ctx, client, 21))
		info, err := client.Tasks.EnqueueIn(ctx, time.Hour, "double", 1)
		require.NoError(t, err)
		waiting, err := set.Node("stellar-worker-1").API().Inspector.Get(ctx, info.ID)
		require.NoError(t, err)
		require.Equal(t, "sums", waiting.Queue, "the app's definition says so")

		require.NoError(t, client.Cache.Save(ctx, "k", 1, time.Minute))
		n, err := cache.Get[int](ctx, set.Node("stellar-worker-1").API().Cache, "k")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		lock, err := client.Cache.Lock(ctx, "k", time.Minute)
		require.NoError(t, err)
		require.NoError(t, lock.Unlock())

		verdicts, err := client.RPC.DoAll(ctx, "api.ping", nil)
		require.NoError(t, err)
		require.Len(t, verdicts, 2)
		require.NoError(t, client.Bus.Publish(ctx, "news", "x"))
		for range 2 {
			require.Regexp(t, `^stellar-client-[a-z0-9]{12}$`, <-heard)
		}
		members, err := client.Directory().List(ctx)
		require.NoError(t, err)
		require.Len(t, members, 2, "a client is no member")

		require.NoError(t, client.Ping(ctx))
		now, err := client.Time(ctx)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), now, time.Minute)
		require.NoError(t, client.Close())
		require.NoError(t, client.Close())
		require.NoError(t, set.Stop())
		goleak.VerifyNone(t, before)

		require.ErrorIs(t, client.Bus.Publish(ctx, "news", "x"), redisbus.ErrClosed)
		_, err = client.Tasks.Enqueue(ctx, "double", 1)
		require.ErrorIs(t, err, tasks.ErrClosed)
		_, err = client.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.Node("stellar-worker-1"))
		require.ErrorIs(t, err, redisbus.ErrClosed)
	})
}

// The definitions of nodes stay when the nodes have gone. Who has an app without the task uses
// them too.
func TestAClientFindsTheQueueOfATaskThatItsProgramDoesNotHandle(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		app := worker.NewApp()
		tasks.Handle(app, tasks.Definition{Name: "mail", Queue: "post"}, func(context.Context, any) error { return nil })
		app.LimitQueue("post", tasks.Limits{Tasks: 2})
		ctx, stop := context.WithCancel(t.Context())
		set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: at, Version: "1.2"}, app, zerolog.Nop())
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- set.Serve(ctx) }()
		require.NoError(t, set.AwaitReady(ctx))
		require.Eventually(t, func() bool { // a program writes the limits of its queues within seconds
			queues, err := set.Nodes()[0].API().Inspector.Queues(ctx)
			return err == nil && slices.ContainsFunc(queues, func(q tasks.Queue) bool { return q.Name == "post" && q.Limits.Tasks == 2 })
		}, patient, 10*time.Millisecond)
		stop()
		require.NoError(t, <-served)

		for _, other := range []*worker.App{nil, worker.NewApp()} {
			client := connect(t, worker.ClientConfig{Redis: at, App: other})
			receipt, err := client.Tasks.Enqueue(t.Context(), "mail", nil)
			require.NoError(t, err)
			info, err := client.Inspector.Get(t.Context(), receipt.ID)
			require.NoError(t, err)
			require.Equal(t, "post", info.Queue)
			_, err = client.Tasks.Enqueue(t.Context(), "whatever", nil)
			if other == nil {
				require.ErrorIs(t, err, tasks.ErrUndefined)
			} else {
				require.NoError(t, err)
			}
		}
		client := connect(t, worker.ClientConfig{Redis: at})
		_, err = client.Tasks.Enqueue(t.Context(), "mail", nil)
		require.ErrorIs(t, err, tasks.ErrQueueFull)
		known, err := client.Inspector.Definitions(t.Context())
		require.NoError(t, err)
		require.Len(t, known, 1)
		require.Equal(t, []string{"mail", "post", "1.2"}, []string{known[0].Name, known[0].Queue, known[0].Version})
	})
}

func TestConnectReportsEverythingThatIsWrong(t *testing.T) {
	app := worker.NewApp()
	app.Subscribe("", nil)
	_, err := worker.ConnectWith(t.Context(), worker.ClientConfig{
		Redis: link.Config{URL: "http://example", Namespace: "{"}, App: app, Name: "a b",
		Cache: worker.CacheConfig{CachePrefix: "x"},
	})
	for _, part := range []string{"http", "namespace", "subscription", `"a b"`, "prefixes"} {
		require.ErrorContains(t, err, part)
	}
}

// With Listen a client hears what nodes and other clients publish, of one type and of all.
func TestAClientThatListensHearsTheMessagesToAllNodes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 1, Redis: cfg})
		app, wrapped := worker.NewApp(), make(chan string, 10)
		app.UseSubscription(func(next redisbus.Handler) redisbus.Handler {
			return func(ctx context.Context, m redisbus.Message) {
				wrapped <- m.Type
				next(ctx, m)
			}
		})
		client := connect(t, worker.ClientConfig{Redis: cfg, App: app, Listen: true})
		deaf := connect(t, worker.ClientConfig{Redis: cfg})
		heard := make(chan string, 10)
		for _, kind := range []string{"a", redisbus.AnyType} {
			client.Bus.Subscribe(kind, func(_ context.Context, m redisbus.Message) { heard <- kind + m.Type }, redisbus.SubscribeOptions{})
			deaf.Bus.Subscribe(kind, func(context.Context, redisbus.Message) { t.Error("it does not listen") }, redisbus.SubscribeOptions{})
		}
		require.NoError(t, client.Bus.Await(t.Context()))
		require.NoError(t, deaf.Bus.Publish(t.Context(), "b", 1))
		require.Equal(t, "*b", <-heard)
		require.NoError(t, set.Node("stellar-worker-1").API().Bus.Publish(t.Context(), "a", 1))
		require.ElementsMatch(t, []string{"aa", "*a"}, []string{<-heard, <-heard})
		require.Len(t, wrapped, 3)
	})
}

// A client that listens is no node: calls to all leave it out, also those of a method that it
// would refuse, and calls to its id get no answer.
func TestAClientThatListensIsNeverCalled(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 2, Redis: cfg})
		listener := connect(t, worker.ClientConfig{Redis: cfg, Listen: true})
		require.NoError(t, listener.Bus.Await(t.Context()))
		caller := connect(t, worker.ClientConfig{Redis: cfg})
		for _, rpc := range []*rpcregistry.Endpoint{caller.RPC, listener.RPC, set.Node("stellar-worker-1").API().RPC} {
			for _, method := range []string{"api.ping", "api.cache.size"} {
				verdicts, err := rpc.DoAll(t.Context(), method, nil)
				require.NoError(t, err)
				var ids []string
				for _, v := range verdicts {
					require.NoError(t, v.Err)
					ids = append(ids, v.Node.ID)
				}
				require.Equal(t, []string{"stellar-worker-1", "stellar-worker-2"}, ids)
			}
			_, err := rpc.DoCluster(t.Context(), "api.nobody.has.it", nil, rpcregistry.All())
			require.ErrorIs(t, err, rpcregistry.ErrNoSuchMethod, "all nodes have refused it")
		}
		require.Empty(t, listener.RPC.Methods())
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := caller.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.Node(listener.RPC.Self().ID))
		require.ErrorIs(t, err, rpcregistry.ErrTimeout)
	})
}

func TestConnectDialsNothingBeforeTheFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, r := throughRoad(redistest.Embedded(t).Config())
		client := connect(t, worker.ClientConfig{Redis: at})
		time.Sleep(time.Hour)
		require.Zero(t, r.dials.Load())
		_, err := client.Tasks.EnqueueWith(t.Context(), "x", nil, tasks.Options{AnyName: true})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, r.dials.Load(), "who only enqueues has no connection to listen on")
	})
}

func TestAClientBeginsWhileRedisIsAway(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		app, _, _ := clientApp()
		supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: at})
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		far, r := throughRoad(at)
		r.closed.Store(true)
		client := connect(t, worker.ClientConfig{Redis: far, App: app})

		short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		defer stop()
		require.ErrorIs(t, client.Bus.Publish(short, "news", "x"), link.ErrUnavailable)
		_, err := client.RPC.DoCluster(short, "api.ping", nil, rpcregistry.Node("stellar-worker-1"))
		require.ErrorIs(t, err, rpcregistry.ErrUnavailable)
		require.ErrorContains(t, err, "the road is closed")
		_, err = client.Tasks.Enqueue(short, "double", 1)
		require.ErrorIs(t, err, link.ErrUnavailable)
		_, err = client.Cache.Load(ctx, "k")
		require.ErrorIs(t, err, link.ErrUnavailable)
		require.ErrorIs(t, client.Ping(ctx), link.ErrUnavailable)

		var all sync.WaitGroup
		errs := make(chan error, 64)
		for n := range cap(errs) {
			all.Go(func() { errs <- use(ctx, client, n) })
		}
		time.Sleep(100 * time.Millisecond) // for most of them to wait
		r.closed.Store(false)
		all.Wait()
		for range cap(errs) {
			require.NoError(t, <-errs)
		}
	})
}

func TestCloseEndsCallsThatAreUnderWay(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		before := goleak.IgnoreCurrent()
		app, hanging, _ := clientApp()
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: at})
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		client, err := worker.Connect(ctx, at, nil)
		require.NoError(t, err)
		receipt, err := client.Tasks.EnqueueIn(ctx, time.Hour, "double", 1)
		require.NoError(t, err)

		called, gathered, waited := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := client.RPC.DoCluster(ctx, "api.hang", nil, rpcregistry.Node("stellar-worker-1"))
			called <- err
		}()
		go func() {
			_, err := client.RPC.DoAll(ctx, "api.hang", nil)
			gathered <- err
		}()
		go func() {
			_, err := client.Tasks.Wait(ctx, receipt.ID)
			waited <- err
		}()
		for range 3 {
			<-hanging
		}
		began := time.Now()
		require.NoError(t, client.Close())
		require.Less(t, time.Since(began), 2*time.Second)
		require.ErrorIs(t, <-called, link.ErrUnknownOutcome)
		require.ErrorIs(t, <-gathered, link.ErrUnknownOutcome)
		require.ErrorIs(t, <-waited, tasks.ErrClosed)
		require.NoError(t, set.Stop())
		goleak.VerifyNone(t, before)
	})
}

func TestAClientOfACallBeforeRedisCameIsEndedByClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, r := throughRoad(redistest.Embedded(t).Config())
		r.closed.Store(true)
		client := connect(t, worker.ClientConfig{Redis: at})
		called := make(chan error, 1)
		go func() {
			_, err := client.RPC.DoCluster(t.Context(), "api.ping", nil, rpcregistry.All())
			called <- err
		}()
		synctest.Wait()
		require.NoError(t, client.Close())
		require.ErrorIs(t, <-called, redisbus.ErrClosed)
	})
}

func TestACallWithoutADeadlineEndsWhileRedisIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, r := throughRoad(redistest.Embedded(t).Config())
		r.closed.Store(true)
		client := connect(t, worker.ClientConfig{Redis: at})
		began := time.Now()
		_, err := client.RPC.DoCluster(t.Context(), "api.ping", nil, rpcregistry.All())
		require.ErrorIs(t, err, rpcregistry.ErrUnavailable)
		require.Equal(t, rpcregistry.DefaultTimeout, time.Since(began))
		require.NoError(t, client.Close())
		time.Sleep(2 * time.Second) // the library dials a broken pool once more before it sees that it is closed
	})
}
