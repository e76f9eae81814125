package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
)

// echoed is what every call carries there and back.
var echoed = strings.Repeat("x", 100)

// rpc is one way to call a node: fire calls node i and waits for the echo.
type rpc struct {
	name string
	call func(ctx context.Context, node int) error
}

// roster is the list of members that a gathering call asks.
type roster []redisbus.Identity

func (r roster) Live(context.Context) ([]redisbus.Identity, error) { return r, nil }

type echoArgs struct {
	Text string `json:"text"`
}

// stellarNodes starts nodes that echo and returns the first one's endpoint.
func stellarNodes(b *testing.B, cfg link.Config, nodes int) *rpcregistry.Endpoint {
	b.Helper()
	cfg.Namespace = "rpc" + strconv.Itoa(nodes)
	members := make(roster, nodes)
	for i := range members {
		id := "node-" + strconv.Itoa(i)
		members[i] = redisbus.Identity{ID: id, Incarnation: id + "#1:aa"}
	}
	var first *rpcregistry.Endpoint
	for i := range members {
		e := stellarNode(b, cfg, members[i], members)
		if i == 0 {
			first = e
		}
	}
	return first
}

func stellarNode(b *testing.B, cfg link.Config, self redisbus.Identity, members roster) *rpcregistry.Endpoint {
	b.Helper()
	conns, err := link.Open(cfg, self.ID)
	must(b, err)
	bus, err := redisbus.NewBus(redisbus.BusConfig{
		Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: cfg.Keys(), Token: "0123456789abcdef", Identity: self,
		Log: zerolog.Nop(),
	})
	must(b, err)
	r := rpcregistry.NewRegistry()
	rpcregistry.Handle(r, "echo", func(_ context.Context, a echoArgs) (echoArgs, error) { return a, nil })
	rpcregistry.Handle(r, "raw", func(_ context.Context, a json.RawMessage) (json.RawMessage, error) { return a, nil })
	e, err := rpcregistry.New(rpcregistry.Config{Bus: bus, Registry: r, Members: members, Log: zerolog.Nop()})
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { _ = bus.Serve(ctx) })
	ended.Go(func() { _ = e.Serve(ctx) })
	b.Cleanup(func() {
		cancel()
		ended.Wait()
		_ = conns.Close()
	})
	<-bus.Ready()
	<-e.Ready()
	return e
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// rawRPC calls through the project with arguments that are JSON already.
func rawRPC(e *rpcregistry.Endpoint) rpc {
	raw, _ := json.Marshal(echoed)
	return rpc{"stellar raw", func(ctx context.Context, node int) error {
		got, err := e.DoCluster(ctx, "raw", json.RawMessage(raw), rpcregistry.Node("node-"+strconv.Itoa(node)))
		if err == nil && len(got.Value) != len(raw) {
			err = errors.New("another echo")
		}
		return err
	}}
}

// stellarRPC calls through the project: signed, with ids, deadlines and typed methods.
func stellarRPC(e *rpcregistry.Endpoint) rpc {
	return rpc{"stellar", func(ctx context.Context, node int) error {
		got, err := rpcregistry.Do[echoArgs](ctx, e, "echo", echoArgs{echoed}, rpcregistry.Node("node-"+strconv.Itoa(node)))
		if err == nil && got.Text != echoed {
			err = errors.New("another echo")
		}
		return err
	}}
}

// floor is the least that a call over Redis can be: a PUBLISH to the node's
// channel and one back, unsigned, with nothing but a number to match them.
type floor struct {
	client  redis.UniversalClient
	grouped bool
	prefix  string // each set of nodes has its own channels

	mu      sync.Mutex
	waiting map[string]chan string
	last    int
	queue   []*redis.IntCmd
	flying  bool
}

func (f *floor) call(ctx context.Context, node int) error {
	reply := make(chan string, 1)
	f.mu.Lock()
	f.last++
	id := strconv.Itoa(f.last)
	f.waiting[id] = reply
	f.mu.Unlock()
	f.publish(ctx, f.prefix+strconv.Itoa(node), id+" "+echoed)
	got := <-reply
	f.mu.Lock()
	delete(f.waiting, id)
	f.mu.Unlock()
	if got != echoed {
		return errors.New("another echo")
	}
	return nil
}

// publish sends at once, or with those that gathered while others were on their way.
func (f *floor) publish(ctx context.Context, channel, text string) {
	if !f.grouped {
		_ = f.client.Publish(ctx, channel, text).Err()
		return
	}
	f.mu.Lock()
	f.queue = append(f.queue, redis.NewIntCmd(ctx, "publish", channel, text))
	if f.flying {
		f.mu.Unlock()
		return
	}
	f.flying = true
	f.mu.Unlock()
	go f.fly(ctx)
}

func (f *floor) fly(ctx context.Context) {
	for {
		f.mu.Lock()
		batch := f.queue
		f.queue = nil
		f.flying = len(batch) > 0
		f.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		pipeline := f.client.Pipeline()
		for _, c := range batch {
			_ = pipeline.Process(ctx, c)
		}
		_, _ = pipeline.Exec(ctx)
	}
}

func floorNodes(b *testing.B, cfg link.Config, nodes int, grouped bool) rpc {
	b.Helper()
	var first *floor
	prefix := "floor" + strconv.Itoa(nodes) + ":"
	for i := range nodes {
		conns, err := link.Open(cfg, "floor")
		must(b, err)
		f := &floor{client: conns.Client, grouped: grouped, prefix: prefix, waiting: map[string]chan string{}}
		if i == 0 {
			first = f
		}
		sub := conns.Subscriber.Subscribe(context.Background(), prefix+strconv.Itoa(i), prefix+"back:"+strconv.Itoa(i))
		for range 2 {
			_, err = sub.Receive(context.Background())
			must(b, err)
		}
		var ended sync.WaitGroup
		ended.Go(func() { f.read(sub) })
		b.Cleanup(func() {
			_ = sub.Close()
			ended.Wait()
			_ = conns.Close()
		})
	}
	return rpc{"floor", first.call}
}

func (f *floor) read(sub *redis.PubSub) {
	ctx := context.Background()
	for {
		got, err := sub.Receive(ctx)
		if err != nil {
			return
		}
		m, ok := got.(*redis.Message)
		if !ok {
			continue
		}
		id, text, _ := strings.Cut(m.Payload, " ")
		if strings.HasPrefix(m.Channel, f.prefix+"back:") {
			f.mu.Lock()
			waiting := f.waiting[id]
			f.mu.Unlock()
			waiting <- text
		} else {
			f.publish(ctx, f.prefix+"back:0", id+" "+text)
		}
	}
}

// BenchmarkRPCSequential is one caller, one call after the other.
func BenchmarkRPCSequential(b *testing.B) {
	cfg := redistest.Start(b).Config()
	for _, nodes := range []int{2, 10, 100} {
		var t table
		e := stellarNodes(b, cfg, nodes)
		peers := []rpc{floorNodes(b, cfg, nodes, false), stellarRPC(e), rawRPC(e), psrpcNodes(b, cfg, nodes)}
		for range 7 {
			for _, p := range peers {
				t.add(fmt.Sprintf("sequential, %d nodes", nodes), p.name, sequential(b, p, nodes, 2000))
			}
		}
		t.report(b)
	}
}

func sequential(b *testing.B, p rpc, nodes, calls int) figures {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	took := make([]time.Duration, calls)
	for i := range took {
		start := time.Now()
		must(b, p.call(ctx, 1+i%(nodes-1)))
		took[i] = time.Since(start)
	}
	return latencies(took)
}

// BenchmarkRPCThroughput is 64 callers on one of ten nodes.
func BenchmarkRPCThroughput(b *testing.B) {
	cfg := redistest.Start(b).Config()
	var t table
	e := stellarNodes(b, cfg, 10)
	peers := []rpc{floorNodes(b, cfg, 10, true), stellarRPC(e), rawRPC(e), psrpcNodes(b, cfg, 10)}
	for range 7 {
		for _, p := range peers {
			t.add("64 callers, 10 nodes", p.name, parallel(b, p, 10, 64, 60_000))
		}
	}
	t.report(b)
}

func parallel(b *testing.B, p rpc, nodes, callers, calls int) figures {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			for i := range calls / callers {
				if err := p.call(ctx, 1+(c+i)%(nodes-1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return figures{rate: float64(calls/callers*callers) / time.Since(start).Seconds()}
}

// BenchmarkRPCGather is a call of all of 100 nodes, with a verdict of each.
func BenchmarkRPCGather(b *testing.B) {
	e := stellarNodes(b, redistest.Start(b).Config(), 100)
	var t table
	for range 5 {
		took := make([]time.Duration, 200)
		for i := range took {
			start := time.Now()
			verdicts, err := e.DoAll(context.Background(), "echo", echoArgs{echoed})
			must(b, err)
			if len(verdicts) != 100 {
				b.Fatal(len(verdicts))
			}
			took[i] = time.Since(start)
		}
		t.add("gather, 100 nodes", "stellar", latencies(took))
	}
	t.report(b)
}
