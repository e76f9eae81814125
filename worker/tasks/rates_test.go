package tasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// synctestless runs a test on an embedded Redis.
func synctestless(t *testing.T, test func(c *cluster)) {
	t.Helper()
	var r tasks.Registry
	quick(&r)
	test(newCluster(t, redistest.Embedded(t).Config(), &r))
}

// within returns the largest excess of starts over what a rate allows in any time between two
// of them.
func within(starts []time.Time, r tasks.Rate) (excess float64) {
	slices.SortFunc(starts, time.Time.Compare)
	for i := range starts {
		for j := i; j < len(starts); j++ {
			allowed := float64(r.Burst) + float64(starts[j].Sub(starts[i]))*float64(r.Tasks)/float64(r.Per)
			excess = max(excess, float64(j-i+1)-allowed)
		}
	}
	return excess
}

// In any time no more tasks begin than a rate allows, and each begins as soon as it does, on all nodes.
func TestARateIsKeptOnTime(t *testing.T) {
	for name, rate := range map[string]tasks.Rate{
		"slow":  {Tasks: 10, Per: time.Second, Burst: 1},
		"fast":  {Tasks: 300, Per: time.Second, Burst: 7},
		"bursy": {Tasks: 1, Per: 100 * time.Millisecond, Burst: 20},
	} {
		for _, group := range []string{"", "x"} {
			t.Run(name+group, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var r tasks.Registry
					var mu sync.Mutex
					var began []time.Time
					tasks.Handle(&r, tasks.Definition{Name: "rated"}, func(context.Context, number) error {
						mu.Lock()
						defer mu.Unlock()
						began = append(began, time.Now())
						return nil
					})
					c := newCluster(t, redistest.Embedded(t).Config(), &r)
					limits := tasks.Limits{Rate: rate}
					if group != "" {
						limits = tasks.Limits{GroupRate: rate}
					}
					_, err := c.inspector.LimitQueue(t.Context(), "default", &limits)
					require.NoError(t, err)
					c.startMover()
					for range 4 {
						c.start(&r, 5)
					}
					synctest.Wait()
					first := time.Now()
					const n = 100
					for i := range n {
						c.enqueue("rated", tasks.Options{Group: group})
						if i == n/2 {
							time.Sleep(3 * time.Second) // tokens gather, up to the burst
						}
					}
					time.Sleep(11 * time.Second)
					mu.Lock()
					defer mu.Unlock()
					require.Len(t, began, n)
					require.LessOrEqual(t, within(began, rate), 0.001*float64(rate.Tasks)*float64(time.Second)/float64(rate.Per)+1e-6, "a claim is a moment before the start")
					// Work-conserving: the k-th of those that came at once is no later than its token.
					for k := rate.Burst; k < n/2; k++ {
						due := first.Add(time.Duration(float64(k-rate.Burst+1) * float64(rate.Per) / float64(rate.Tasks)))
						require.Less(t, began[k].Sub(due), 10*time.Millisecond, "start %d", k)
					}
				})
			})
		}
	}
}

// The other side said that it was asked too often: the queue, or the group alone, rests.
func TestThrottle(t *testing.T) {
	for _, group := range []string{"", "x"} {
		t.Run("group "+group, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r tasks.Registry
				began, asked := make(chan tasks.Info, 100), 0
				tasks.Handle(&r, tasks.Definition{Name: "ask", MaxAttempts: 1}, func(ctx context.Context, p struct{ Fails int }) error {
					began <- tasks.InfoOf(ctx)
					if asked++; asked <= p.Fails {
						return fmt.Errorf("429: %w", tasks.Throttle(time.Minute))
					}
					return nil
				})
				c := newCluster(t, redistest.Embedded(t).Config(), &r)
				outcomes := &tally{}
				c.observer = outcomes
				c.startMover()
				c.start(&r, 1)
				synctest.Wait()
				send := func(o tasks.Options, fails int) string {
					receipt, err := c.tasks.EnqueueWith(t.Context(), "ask", json.RawMessage(fmt.Sprintf(`{"Fails":%d}`, fails)), o)
					require.NoError(t, err)
					return receipt.ID
				}
				id := send(tasks.Options{Group: group}, 1)
				time.Sleep(time.Second)
				require.Equal(t, id, receive(t, began).ID)
				other := send(tasks.Options{Group: group}, 0)
				if group != "" {
					aside := send(tasks.Options{Group: "y"}, 0)
					time.Sleep(time.Second)
					require.Equal(t, aside, receive(t, began).ID, "of another group")
				}
				time.Sleep(57 * time.Second)
				require.Empty(t, began)
				e, err := c.inspector.Explain(t.Context(), other)
				require.NoError(t, err)
				require.Regexp(t, "rests until .*, as a handler asked with Throttle", fmt.Sprint(e.Why))
				time.Sleep(3 * time.Second)
				again := receive(t, began)
				require.Equal(t, []any{id, 1}, []any{again.ID, again.Attempt}, "the same, and the run did not count")
				require.Equal(t, other, receive(t, began).ID)
				require.Equal(t, 1, outcomes.of("run "+string(tasks.RunThrottled)))
			})
		})
	}
}

// explain says when the next task may begin.
func TestExplainOfARate(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		quick(&r)
		c := newCluster(t, cfg, &r)
		rate := tasks.Rate{Tasks: 1, Per: time.Hour}
		got, err := c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{Rate: rate, GroupRate: rate})
		require.NoError(t, err)
		require.Equal(t, 1, got.Rate.Burst)
		c.start(&r, 1)
		c.enqueue("quick", tasks.Options{Group: "x"})
		c.eventually("done", func() bool { return c.counts().Done == 1 })
		id := c.enqueue("quick", tasks.Options{Group: "x"})
		e, err := c.inspector.Explain(t.Context(), id)
		require.NoError(t, err)
		require.Regexp(t, `the queue default has a rate of 1 in 1h0m0s, 1 at once: the next task may begin at \d`, fmt.Sprint(e.Why))
		require.Regexp(t, `its group x has a rate of 1 in 1h0m0s, 1 at once: the next task may begin at \d`, fmt.Sprint(e.Why))
		text, err := json.Marshal(got)
		require.NoError(t, err)
		require.JSONEq(t, `{"concurrency":0,"tasks":0,"bytes":0,"rate":{"tasks":1,"perMs":3600000,"burst":1},"groupRate":{"tasks":1,"perMs":3600000,"burst":1}}`, string(text))
		var back tasks.Limits
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, got, back)
		_, err = c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{})
		require.NoError(t, err)
		c.eventually("it begins when the rate is gone", func() bool { return c.counts().Done == 2 })
	})
}

// What was spent of a rate stays spent when something else of the queue changes.
func TestAChangeOfAQueueGivesNoTokensBack(t *testing.T) {
	rate := tasks.Rate{Tasks: 10, Per: time.Hour, Burst: 10}
	slower := tasks.Rate{Tasks: 10, Per: 2 * time.Hour, Burst: 10}
	for name, l := range map[string]tasks.Limits{"queue": {Rate: rate}, "group": {GroupRate: rate}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r tasks.Registry
				quick(&r)
				c := newCluster(t, redistest.Embedded(t).Config(), &r)
				limit := func() {
					_, err := c.inspector.LimitQueue(t.Context(), tasks.DefaultQueue, &l)
					require.NoError(t, err)
				}
				limit()
				c.startMover()
				c.start(&r, 50)
				for range 30 {
					c.enqueue("quick", tasks.Options{Group: map[string]string{"group": "x"}[name]})
				}
				time.Sleep(20 * time.Second)
				require.EqualValues(t, 10, c.counts().Done)
				require.NoError(t, c.inspector.PauseQueue(t.Context(), tasks.DefaultQueue, true))
				require.NoError(t, c.inspector.PauseQueue(t.Context(), tasks.DefaultQueue, false))
				limit()
				l.Concurrency = 7
				limit()
				if l.Rate.Tasks > 0 {
					l.Rate = slower
				} else {
					l.GroupRate = slower
				}
				limit()
				time.Sleep(11 * time.Minute)
				require.EqualValues(t, 10, c.counts().Done, "at the slower rate none begins in 11 minutes")
				time.Sleep(2 * time.Minute)
				require.EqualValues(t, 11, c.counts().Done)
			})
		})
	}
}
