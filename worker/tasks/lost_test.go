package tasks_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// unanswered is a hook: the reply to the next command is lost, and the one after that takes long.
// before is called before the first.
type unanswered struct {
	armed  atomic.Int32
	before func()
}

func (l *unanswered) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *unanswered) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *unanswered) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		switch l.armed.Load() {
		case 1:
			l.armed.Store(2)
			l.before()
			_ = next(ctx, cmd)
			cmd.SetErr(io.ErrUnexpectedEOF)
			return cmd.Err()
		case 2:
			l.armed.Store(0)
			time.Sleep(200 * time.Millisecond)
		}
		return next(ctx, cmd)
	}
}

// Redis gave a node a task with an answer that was lost, and then the node has no room: it
// fetches the task all the same, so that another node gets it.
func TestATaskOfALostAnswerGoesOnThoughTheNodeHasNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		hook, release, ran := &unanswered{}, make(chan struct{}), make(chan struct{})
		tasks.Handle(&r, tasks.Definition{Name: "instant"}, func(context.Context, number) error { return nil })
		tasks.Handle(&r, tasks.Definition{Name: "arms"}, func(context.Context, number) error { hook.armed.Store(1); return nil })
		tasks.Handle(&r, tasks.Definition{Name: "blocks"}, func(context.Context, number) error { <-release; return nil })
		tasks.Handle(&r, tasks.Definition{Name: "late"}, func(context.Context, number) error { close(ran); return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		hook.before = func() { c.enqueue("late", tasks.Options{}) }
		c.hook = hook
		c.start(&r, 1)
		for range 20 { // now the node claims ahead
			c.enqueue("instant", tasks.Options{})
			synctest.Wait()
		}
		_, err := c.tasks.EnqueueMany(t.Context(), []tasks.Request{{Name: "arms", Payload: number{}}, {Name: "blocks", Payload: number{}}})
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)
		require.Zero(t, hook.armed.Load())
		c.start(&r, 1)
		time.Sleep(time.Second)
		select {
		case <-ran:
		default:
			t.Error("the task waits for the node that does not know of it")
		}
		close(release)
	})
}
