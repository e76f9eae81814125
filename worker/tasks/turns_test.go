package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// confinedLost loses answers to claims that are for free slots alone: the seventh value says so.
type confinedLost struct{ left atomic.Int64 }

func (d *confinedLost) DialHook(n redis.DialHook) redis.DialHook { return n }

func (d *confinedLost) ProcessPipelineHook(n redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return n
}

func (d *confinedLost) ProcessHook(n redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := n(ctx, cmd)
		if c, is := cmd.(*redis.Cmd); is && err == nil {
			if v, is := c.Val().([]any); is && len(v) == 8 && fmt.Sprint(v[6]) == "3" && d.left.Add(-1) >= 0 {
				err = errors.New("the connection broke before the answer")
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// A node goes on at once after the answer to a claim of groups, or of a queue with a rate, was lost.
func TestALostAnswerToAClaimOfGroupsHoldsNobodyUp(t *testing.T) {
	for name, limits := range map[string]tasks.Limits{"grouped": {}, "rated": {Rate: tasks.Rate{Tasks: 100_000, Per: time.Second}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r tasks.Registry
				tasks.Handle(&r, tasks.Definition{Name: "w"}, func(context.Context, number) error { time.Sleep(time.Millisecond); return nil })
				c := newCluster(t, redistest.Embedded(t).Config(), &r)
				lost := &confinedLost{}
				lost.left.Store(3)
				c.hook = lost
				_, err := c.inspector.LimitQueue(t.Context(), "default", &limits)
				require.NoError(t, err)
				for range 300 {
					o := tasks.Options{}
					if name == "grouped" {
						o.Group = "x"
					}
					c.enqueue("w", o)
				}
				c.startMover()
				c.start(&r, 2)
				time.Sleep(5 * time.Second)
				require.EqualValues(t, 300, c.counts().Done)
				require.Negative(t, lost.left.Load()+1, "otherwise no answer was lost")
			})
		})
	}
}

// A change of a rate counts at once, also where its tokens were used up for long.
func TestAChangeOfARateCountsAtOnce(t *testing.T) {
	for _, groups := range []int{0, 300} {
		t.Run(fmt.Sprint(groups, " groups"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r tasks.Registry
				quick(&r)
				c := newCluster(t, redistest.Embedded(t).Config(), &r)
				limits := func(rate tasks.Rate) {
					l := tasks.Limits{Rate: rate}
					if groups > 0 {
						l = tasks.Limits{GroupRate: rate}
					}
					_, err := c.inspector.LimitQueue(t.Context(), "default", &l)
					require.NoError(t, err)
				}
				limits(tasks.Rate{Tasks: 1, Per: time.Hour, Burst: 1})
				c.startMover()
				c.start(&r, 5)
				n := max(groups, 1)
				for i := range 2 * n {
					o := tasks.Options{}
					if groups > 0 {
						o.Group = fmt.Sprint("x", i%n)
					}
					c.enqueue("quick", o)
				}
				time.Sleep(20 * time.Second)
				require.EqualValues(t, n, c.counts().Done)
				limits(tasks.Rate{Tasks: 10, Per: time.Second, Burst: 1})
				time.Sleep(time.Second)
				require.EqualValues(t, 2*n, c.counts().Done)
			})
		})
	}
}

// The tasks of a batch that does not commit go back in their order.
func TestABatchGoesBackInItsOrder(t *testing.T) {
	for _, what := range []string{"throttle", "cancel"} {
		t.Run(what, func(t *testing.T) {
			var r tasks.Registry
			began, goOn := make(chan int, 10), make(chan struct{})
			tasks.HandleBatch(&r, tasks.Definition{Name: "b"}, tasks.Batch{Max: 4, Wait: time.Minute}, func(_ context.Context, in []number) error {
				began <- len(in)
				<-goOn
				if what == "throttle" {
					return tasks.Throttle(time.Hour)
				}
				return errors.New("broken off")
			})
			c := newCluster(t, redistest.Embedded(t).Config(), &r)
			var ids []string
			for range 4 {
				ids = append(ids, c.enqueue("b", tasks.Options{Group: "x"}))
			}
			n := c.start(&r, 4)
			require.Equal(t, 4, receive(t, began))
			_, err := c.inspector.PauseGroup(t.Context(), "default", "x", true)
			require.NoError(t, err)
			if what == "cancel" {
				_, err := c.inspector.Cancel(t.Context(), ids[0], "")
				require.NoError(t, err)
				n.runner.Cancel(ids[0])
				ids = ids[1:]
			}
			close(goOn)
			c.eventually("back", func() bool { return c.counts().Active == 0 })
			require.Equal(t, ids, c.list(tasks.Filter{Group: "x", States: []tasks.State{tasks.Pending}}))
		})
	}
}
