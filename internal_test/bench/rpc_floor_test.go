package bench

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// rpcFloor is the least that a call over Redis can be: a PUBLISH to the node's
// channel and one back, unsigned, with nothing but a number to match them.
type rpcFloor struct {
	client  redis.UniversalClient
	grouped bool

	mu      sync.Mutex
	waiting map[string]chan string
	last    int
	queue   []*redis.IntCmd
	flying  bool
}

// call calls a node.
func (f *rpcFloor) call(ctx context.Context, node int) error {
	return f.ask(ctx, strconv.Itoa(node), 1)
}

// ask publishes to a channel and waits for so many replies.
func (f *rpcFloor) ask(ctx context.Context, channel string, replies int) error {
	reply := make(chan string, replies)
	f.mu.Lock()
	f.last++
	id := strconv.Itoa(f.last)
	f.waiting[id] = reply
	f.mu.Unlock()
	f.publish(ctx, "floor:"+channel, id+" "+echoed)
	defer func() {
		f.mu.Lock()
		delete(f.waiting, id)
		f.mu.Unlock()
	}()
	for range replies {
		if got := <-reply; got != echoed {
			return errors.New("another echo")
		}
	}
	return nil
}

// publish sends at once, or with those that gathered while others were on their way.
func (f *rpcFloor) publish(ctx context.Context, channel, text string) {
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

func (f *rpcFloor) fly(ctx context.Context) {
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

// floorNodes starts nodes of the floor, and returns one of them.
func floorNodes(b *scope, cfg link.Config, nodes int, grouped bool) *rpcFloor {
	b.Helper()
	var first *rpcFloor
	for i := range nodes {
		conns, err := link.Open(cfg, "floor")
		must(b, err)
		f := &rpcFloor{client: conns.Client, grouped: grouped, waiting: map[string]chan string{}}
		if i == 0 {
			first = f
		}
		sub := conns.Subscriber.Subscribe(context.Background(), "floor:all", "floor:"+strconv.Itoa(i), "floor:back:"+strconv.Itoa(i))
		for range 3 {
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
	return first
}

func (f *rpcFloor) read(sub *redis.PubSub) {
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
		if strings.HasPrefix(m.Channel, "floor:back:") {
			f.mu.Lock()
			waiting := f.waiting[id]
			f.mu.Unlock()
			waiting <- text
		} else {
			f.publish(ctx, "floor:back:0", id+" "+text)
		}
	}
}
