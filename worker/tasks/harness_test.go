package tasks_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// cluster is one namespace as a test sees it.
type cluster struct {
	t         *testing.T
	cfg       link.Config
	redis     *redis.Client
	keys      link.Keys
	directory membership.Directory
	keeper    *membership.Keeper
	tasks     *tasks.Client
	inspector *tasks.Inspector
	cache     *cache.Cache
	observer  tasks.Observer // of nodes and movers
	log       *notes         // of nodes and movers, instead of the test's
	hook      redis.Hook     // of nodes' clients

	mu    sync.Mutex
	nodes []*node
}

// cancel is what a process does with requests to cancel.
func (c *cluster) cancel(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		for _, id := range ids {
			n.runner.Cancel(id)
		}
	}
}

func newCluster(t *testing.T, cfg link.Config, r *tasks.Registry) *cluster {
	t.Helper()
	require.NoError(t, r.Err())
	c := &cluster{t: t, cfg: cfg, redis: redistest.Client(t, cfg), keys: cfg.Keys()}
	c.directory = membership.Directory{Client: c.redis, Keys: c.keys}
	c.keeper = membership.NewKeeper(c.directory, membership.Times{}, zerolog.Nop())
	c.tasks = tasks.NewClient(t.Context(), c.redis, c.keys, r)
	c.inspector = tasks.NewInspector(c.redis, c.keys)
	c.cache = cache.New(cache.Config{Client: c.redis, Keys: c.keys})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = c.keeper.Serve(ctx); close(done) }()
	t.Cleanup(func() { c.tasks.Close(); cancel(); <-done })
	return c
}

// node is one incarnation with a runner.
type node struct {
	*cluster
	lease  *membership.Lease
	runner *runner.Runner
	drain  context.CancelFunc
	kill   context.CancelCauseFunc
	ended  chan error
}

func (c *cluster) start(r *tasks.Registry, concurrency int) *node {
	c.t.Helper()
	return c.startWith(runner.Config{Registry: r, Concurrency: concurrency})
}

// unsignedBus makes messages without proofs.
type unsignedBus struct{ keys link.Keys }

func (unsignedBus) Prepare(_ context.Context, kind string, body any, _ redisbus.PublishOptions) (redisbus.Outgoing, error) {
	text, err := json.Marshal(body)
	return redisbus.Outgoing{Type: kind, Body: text}, err
}

func (b unsignedBus) Seal(_ context.Context, m redisbus.Outgoing) (channel string, message []byte, err error) {
	message, err = json.Marshal(map[string]any{"messageType": m.Type, "body": m.Body})
	return b.keys.Channel(), message, err
}

// startWith starts a node with what of its configuration is not the cluster's.
func (c *cluster) startWith(cfg runner.Config) *node {
	c.t.Helper()
	lease, err := c.keeper.Join(c.t.Context(), membership.JoinRequest{Prefix: "w"})
	require.NoError(c.t, err)
	n := &node{cluster: c, lease: lease, ended: make(chan error, 1)}
	client := redistest.Client(c.t, c.cfg)
	if c.hook != nil {
		client.AddHook(c.hook)
	}
	cfg.Redis, cfg.Keys, cfg.Incarnation, cfg.Fence = client, c.keys, lease.Incarnation.String(), lease.Incarnation.Epoch
	cfg.Observer = c.observer
	cfg.Client, cfg.Log = c.tasks, redistestLog(c.t)
	if c.log != nil {
		cfg.Log = zerolog.New(c.log)
	}
	cfg.Bus = unsignedBus{c.keys}
	n.runner = runner.New(cfg)
	sub := client.Subscribe(c.t.Context(), c.keys.Wake(lease.Incarnation.String()))
	_, err = sub.Receive(c.t.Context())
	require.NoError(c.t, err)
	go func() {
		for range sub.ChannelWithSubscriptions() { // as the bus, which also hints when it is subscribed again
			n.runner.Wake()
		}
	}()
	ctx, drain := context.WithCancel(context.Background())
	work, kill := context.WithCancelCause(lease.Context())
	n.drain, n.kill = drain, kill
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	served := make(chan struct{})
	go func() { n.ended <- n.runner.Serve(ctx, work); close(served) }()
	c.t.Cleanup(func() {
		drain()
		kill(tasks.ErrEnding)
		<-served
		if !c.t.Failed() { // a test that failed has not released its handlers
			n.runner.Await(context.Background())
		}
		lease.Release()
		_ = sub.Close()
	})
	return n
}

// stop drains the node and settles it.
func (n *node) stop() queue.Handed {
	n.t.Helper()
	n.drain()
	require.NoError(n.t, <-n.ended)
	return n.settle(queue.Remains{})
}

// crash ends the node at once, as its supervisor would, and settles it.
func (n *node) crash(suspicious bool) queue.Handed {
	n.t.Helper()
	n.kill(tasks.ErrEnding)
	require.NoError(n.t, <-n.ended)
	require.True(n.t, n.runner.Await(n.t.Context()))
	return n.settle(n.runner.Remains(suspicious))
}

func (n *node) settle(r queue.Remains) queue.Handed {
	n.t.Helper()
	n.lease.Release()
	i := n.lease.Incarnation
	v, err := n.directory.Condemn(n.t.Context(), i, false, 0)
	require.NoError(n.t, err)
	require.Equal(n.t, membership.Condemned, v)
	store := queue.NewStore(n.redis, n.keys)
	store.OnEnd = runner.OnEnd(n.observer)
	h, err := store.TakeOver(n.t.Context(), i.String(), r)
	require.NoError(n.t, err)
	if h.Left == 0 {
		_, err = n.directory.Leave(n.t.Context(), i)
		require.NoError(n.t, err)
	}
	return h
}

// counts says where tasks are, without how many there ever were. A Redis that a slow machine
// keeps busy for longer than a client waits is asked again.
func (c *cluster) counts() (n tasks.Counts) {
	c.t.Helper()
	require.NoError(c.t, link.Retry(c.t.Context(), func(ctx context.Context) (err error) {
		n, err = c.inspector.Counts(ctx)
		return err
	}))
	n.Enqueued = 0
	return n
}

// eventually waits for a condition of Redis that nothing announces.
func (c *cluster) eventually(what string, condition func() bool) {
	c.t.Helper()
	require.Eventually(c.t, condition, time.Minute, 2*time.Millisecond, what)
}

// receive waits for a value that must come.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came within a minute")
		panic("unreachable")
	}
}

func redistestLog(t *testing.T) zerolog.Logger { return zerolog.New(zerolog.NewTestWriter(t)) }

// enqueue stores a task that must be accepted, and returns its id.
func (c *cluster) enqueue(name string, o tasks.Options) string {
	c.t.Helper()
	receipt, err := c.tasks.EnqueueWith(c.t.Context(), name, number{}, o)
	require.NoError(c.t, err)
	require.False(c.t, receipt.Duplicate)
	return receipt.ID
}

func (c *cluster) get(id string) tasks.Task {
	c.t.Helper()
	task, err := c.inspector.Get(c.t.Context(), id)
	require.NoError(c.t, err)
	return task
}

// list returns the ids of the tasks that a filter selects.
func (c *cluster) list(f tasks.Filter) []string {
	c.t.Helper()
	ids := []string{}
	for task, err := range c.inspector.List(c.t.Context(), f) {
		require.NoError(c.t, err)
		ids = append(ids, task.ID)
	}
	return ids
}

// conserved checks that every task that was ever accepted is in one place or has ended.
func (c *cluster) conserved() {
	c.t.Helper()
	n, err := c.inspector.Counts(c.t.Context())
	require.NoError(c.t, err)
	require.Equal(c.t, n.Enqueued, n.Pending+n.Delayed+n.Blocked+n.Active+n.Done+n.Dead+n.Cancelled+n.Deleted+n.Dropped, "%+v", n)
}
