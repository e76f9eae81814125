package internal_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
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

// recorder is somebody who may listen and publish, and knows no token.
type recorder struct {
	t      *testing.T
	client *redis.Client
	keys   link.Keys
	sub    *redis.PubSub
	done   chan struct{}

	mu   sync.Mutex
	seen []redis.Message
}

func record(t *testing.T, cfg link.Config) *recorder {
	r := &recorder{t: t, client: redistest.Client(t, cfg), keys: cfg.Keys(), done: make(chan struct{})}
	r.sub = r.client.PSubscribe(t.Context(), r.keys.Channel(), r.keys.Channel()+":inbox:*")
	for range 2 {
		_, err := r.sub.Receive(t.Context())
		require.NoError(t, err)
	}
	go func() {
		defer close(r.done)
		for {
			m, err := r.sub.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			r.mu.Lock()
			r.seen = append(r.seen, *m)
			r.mu.Unlock()
		}
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends the recording.
func (r *recorder) stop() {
	_ = r.sub.Close()
	<-r.done
}

// replay publishes what was recorded with that text: where it was heard, and to these inboxes.
func (r *recorder) replay(text string, inboxes ...string) (replayed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.seen {
		if !strings.Contains(m.Payload, text) {
			continue
		}
		channels := []string{m.Channel}
		for _, name := range inboxes {
			channels = append(channels, r.keys.Inbox(name))
		}
		for _, c := range channels {
			require.NoError(r.t, r.client.Publish(r.t.Context(), c, m.Payload).Err())
			replayed++
		}
	}
	return replayed
}

func TestARecordedCallDoesNothingToTheNextLife(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var counted atomic.Int64
		app := worker.NewApp()
		rpcregistry.Handle(app, "api.count", func(context.Context, struct{}) (any, error) { return counted.Add(1), nil })
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: cfg})
		id := "stellar-worker-1"
		client, err := worker.Connect(t.Context(), cfg, nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, client.Close()) }()
		attacker := record(t, cfg)
		life := func() string { return set.Node(id).API().Incarnation.String() }
		call := func(method string) {
			_, err := client.RPC.DoCluster(t.Context(), method, nil, rpcregistry.Node(id))
			require.NoError(t, err)
		}
		first := life()
		call("api.count")
		call("api.restart")
		eventually(t, "the next life", func() bool { n := set.Node(id); return n != nil && n.API() != nil && life() != first })
		second := life()
		call("api.count")
		require.EqualValues(t, 2, counted.Load(), "a call finds the next life by itself")

		attacker.stop()
		for range 5 {
			require.Positive(t, attacker.replay("api.restart", id, first, second))
			require.Positive(t, attacker.replay("api.count", id, first, second))
		}
		eventually(t, "the attack was heard", func() bool {
			return set.Node(id).API().Bus.Stats().Dropped[redisbus.DropProof] > 0
		})
		call("api.ping") // comes after all that was replayed
		require.Equal(t, second, life(), "nobody was restarted")
		require.EqualValues(t, 2, counted.Load())
	})
}

func TestABroadcastCountsOnceHoweverManyNodesJoinLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counted atomic.Int64
		app := worker.NewApp()
		app.Subscribe("paid", func(context.Context, redisbus.Message) { counted.Add(1) })
		rpcregistry.Handle(app, "api.count", func(context.Context, struct{}) (any, error) { return counted.Add(1), nil })
		server := redistest.Embedded(t)
		cfg := server.Config()
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: cfg})
		attacker := record(t, cfg)
		api := set.Node("stellar-worker-1").API()
		require.NoError(t, api.Bus.Publish(t.Context(), "paid", 7))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := api.RPC.DoCluster(ctx, "api.count", nil, rpcregistry.All())
		require.NoError(t, err)
		time.Sleep(6 * time.Second)
		require.EqualValues(t, 2, counted.Load())
		attacker.stop()

		require.NoError(t, set.Scale(t.Context(), 4))
		require.NoError(t, set.AwaitReady(t.Context()))
		require.Equal(t, 1, attacker.replay(`"paid"`))
		require.Equal(t, 1, attacker.replay("api.count"))
		time.Sleep(time.Second)
		require.EqualValues(t, 2, counted.Load(), "the new nodes take no part in what was before them")
		require.EqualValues(t, 2, set.Node("stellar-worker-4").API().Bus.Stats().Dropped[redisbus.DropReplay])
		require.NoError(t, api.Bus.Publish(t.Context(), "paid", 8))
		time.Sleep(time.Second)
		require.EqualValues(t, 6, counted.Load(), "in what comes now they do")
		require.NoError(t, set.Stop())
	})
}

// TestATransactionPublishesHoweverLongItsHandlerRuns publishes first, and then takes 3 minutes,
// in which a node joins, the receiver of one message gets a new life, and Redis is away for 30 s.
func TestATransactionPublishesHoweverLongItsHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard sync.Map // "node kind" to how often
		hear := func(ctx context.Context, m redisbus.Message) {
			n, _ := heard.LoadOrStore(worker.FromContext(ctx).ID()+" "+m.Type, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		}
		app := worker.NewApp()
		app.Subscribe("done", hear)
		app.Subscribe("yours", hear)
		working := make(chan struct{})
		tasks.Handle(app, tasks.Definition{Name: "long"}, func(ctx context.Context, _ int) error {
			tasks.Tx(ctx).Publish("done", 1)
			tasks.Tx(ctx).PublishWith("yours", 1, redisbus.PublishOptions{Node: "stellar-worker-2"})
			close(working)
			time.Sleep(3 * time.Minute)
			return nil
		})
		server := redistest.Embedded(t)
		cable := &redistest.Cable{To: server.Dial}
		cfg := server.Config()
		cfg.Dial = cable.Dial
		// The node that runs the task is alone in its process, so that its lease can outlast the outage.
		long := supervisor.Config{Workers: 1, Redis: cfg, Queues: []string{"default"}}
		long.Times.Lease = 3 * time.Minute
		set := supervisortest.StartWith(t, app, long)
		_, err := set.Node("stellar-worker-1").API().Tasks.Enqueue(t.Context(), "long", 1)
		require.NoError(t, err)
		<-working
		others := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: server.Config(), Queues: []string{"none"}})
		time.Sleep(time.Minute)
		others.Node("stellar-worker-2").Crash("drill")
		time.Sleep(2*time.Minute - 10*time.Second)
		cable.Refuse.Store(true)
		cable.Cut()
		time.Sleep(30 * time.Second)
		cable.Refuse.Store(false)
		time.Sleep(30 * time.Second)
		times := map[string]int64{}
		heard.Range(func(who, n any) bool {
			times[who.(string)] = n.(*atomic.Int64).Load()
			return true
		})
		// The first node was cut off too: it commits as soon as it can, be its subscription back or not.
		require.LessOrEqual(t, times["stellar-worker-1 done"], int64(1))
		delete(times, "stellar-worker-1 done")
		require.Equal(t, map[string]int64{
			"stellar-worker-2 done": 1, "stellar-worker-3 done": 1, "stellar-worker-2 yours": 1,
		}, times)
		require.NoError(t, others.Stop())
		require.NoError(t, set.Stop())
	})
}
