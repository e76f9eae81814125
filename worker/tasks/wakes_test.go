package tasks_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Whatever one node does, another that idles is woken for the next task.
func TestAnIdleNodeIsWokenWhateverAnotherDoes(t *testing.T) {
	for name, does := range map[string]func(*node){
		"quiet":   func(n *node) { n.runner.Quiet(true) },
		"stops":   func(n *node) { n.stop() },
		"nothing": func(*node) {},
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				began := make(chan struct{}, 1)
				tasks.Handle(&r, tasks.Definition{Name: "work"}, func(context.Context, number) error { began <- struct{}{}; return nil })
				c := newCluster(t, cfg, &r)
				first := c.start(&r, 2)
				c.start(&r, 2)
				idle := func() int64 { return c.redis.SCard(t.Context(), c.keys.Idle(tasks.DefaultQueue)).Val() }
				c.eventually("both idle", func() bool { return idle() == 2 })
				does(first)
				c.eventually("one idles", func() bool { return name == "nothing" || idle() == 1 })
				c.enqueue("work", tasks.Options{})
				receive(t, began)
			})
		})
	}
}

// A node that ends resigns in its turn, so that thousands of nodes do not do so at once.
func TestANodeThatEndsWaitsForItsTurn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		asks, turn, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
		c := newCluster(t, cfg, &r)
		n := c.startWith(runner.Config{Registry: &r, Concurrency: 1, Turn: func(context.Context) (func(), error) {
			close(asks)
			<-turn
			return func() { close(over) }, nil
		}})
		idle := func() int64 { return c.redis.SCard(t.Context(), c.keys.Idle(tasks.DefaultQueue)).Val() }
		c.eventually("it idles", func() bool { return idle() == 1 })
		n.drain()
		receive(t, asks)
		require.EqualValues(t, 1, idle(), "it has not resigned")
		close(turn)
		receive(t, over)
		require.Zero(t, idle())
		require.NoError(t, <-n.ended)
	})
}

// A node with thousands of slots claims as many tasks in one script.
func TestAClaimOfThousands(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const many = 5000
		var r tasks.Registry
		hold := make(chan struct{})
		tasks.Handle(&r, tasks.Definition{Name: "long"}, func(context.Context, number) error { <-hold; return nil })
		c := newCluster(t, cfg, &r)
		c.start(&r, many+1000)
		c.eventually("idle", func() bool { return c.redis.SCard(t.Context(), c.keys.Idle(tasks.DefaultQueue)).Val() == 1 })
		requests := make([]tasks.Request, many)
		for i := range requests {
			requests[i] = tasks.Request{Name: "long"}
		}
		require.NoError(t, c.inspector.PauseQueue(t.Context(), tasks.DefaultQueue, true)) // so that one claim gets all
		_, err := c.tasks.EnqueueMany(t.Context(), requests)
		require.NoError(t, err)
		require.NoError(t, c.inspector.PauseQueue(t.Context(), tasks.DefaultQueue, false))
		c.eventually("all run", func() bool { return c.counts().Active == many })
		close(hold)
		c.eventually("all done", func() bool { return c.counts().Done == many })
		c.conserved()
	})
}

// losing drops the answer to a script when it is armed, after which it calls then.
type losing struct {
	armed atomic.Bool
	then  func()
}

func (*losing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*losing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *losing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "evalsha" && l.armed.CompareAndSwap(true, false) {
			l.then()
			cmd.SetErr(io.EOF)
			return io.EOF
		}
		return err
	}
}

// The answer to a commit that took a claim along is lost, and the node is to be quiet before
// it asks again: it gives back what it has claimed.
func TestAQuietNodeKeepsNothingOfALostAnswer(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		began, hold := make(chan struct{}, 9), make(chan struct{})
		tasks.Handle(&r, tasks.Definition{Name: "work"}, func(context.Context, number) error { began <- struct{}{}; <-hold; return nil })
		c, lost := newCluster(t, cfg, &r), &losing{}
		c.hook = lost
		first := c.startWith(runner.Config{Registry: &r, Concurrency: 1})
		c.hook = nil
		c.enqueue("work", tasks.Options{})
		receive(t, began)
		c.enqueue("work", tasks.Options{})
		lost.then = func() { first.runner.Quiet(true) }
		lost.armed.Store(true)
		hold <- struct{}{}
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		c.start(&r, 1)
		receive(t, began)
		close(hold)
	})
}
