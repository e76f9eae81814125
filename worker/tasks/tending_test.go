package tasks_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// stream enqueues a task every so often, for a time, and returns the longest wait.
func (c *cluster) stream(waits <-chan time.Duration, every, span time.Duration) (longest time.Duration) {
	for len(waits) > 0 {
		<-waits // of a task that ran again after a crash
	}
	n := int(span / every)
	for range n {
		_, err := c.tasks.Enqueue(c.t.Context(), "timed", time.Now())
		require.NoError(c.t, err)
		time.Sleep(every)
	}
	for range n {
		longest = max(longest, receive(c.t, waits))
	}
	return longest
}

// tender returns the node that tends the queue, or nil.
func (c *cluster) tender() *node {
	_, name, _ := strings.Cut(c.redis.HGet(c.t.Context(), c.keys.Tended(), tasks.DefaultQueue).Val(), "|")
	for _, n := range c.nodes {
		if n.lease.Incarnation.String() == name {
			return n
		}
	}
	return nil
}

// While tasks come steadily, one node of all claims them some at a time, and they wait no
// longer for it. Whatever becomes of that node, another is woken.
func TestANodeTendsWhileTasksComeSteadily(t *testing.T) {
	for name, does := range map[string]func(*node){
		"nothing": func(*node) {},
		"quiet":   func(n *node) { n.runner.Quiet(true) },
		"stops":   func(n *node) { n.stop() },
		"dies":    func(n *node) { n.crash(false) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r tasks.Registry
				waits, counts := make(chan time.Duration, 10_000), &tally{}
				tasks.Handle(&r, tasks.Definition{Name: "timed"}, func(_ context.Context, at time.Time) error { waits <- time.Since(at); return nil })
				c := newCluster(t, redistest.Embedded(t).Config(), &r)
				c.observer = counts
				var flow runner.Flow
				last := 0
				for range 4 {
					c.startWith(runner.Config{Registry: &r, Concurrency: 10, Flow: &flow})
				}
				synctest.Wait()

				claims := func() (n int) { // since the last call
					n, last = counts.of("claims")-last, counts.of("claims")
					return n
				}
				claims()
				require.Less(t, c.stream(waits, 10*time.Millisecond, time.Second), time.Millisecond)
				require.Nil(t, c.tender(), "so few that each is claimed at once")
				require.GreaterOrEqual(t, claims(), 100)

				require.LessOrEqual(t, c.stream(waits, 100*time.Microsecond, 90*time.Millisecond), 2*time.Millisecond)
				require.Less(t, claims(), 250, "of 900 tasks")
				tends := c.tender()
				require.NotNil(t, tends)
				does(tends)
				require.Less(t, c.stream(waits, 100*time.Microsecond, time.Second), 6*time.Millisecond)
				require.Less(t, claims(), 2500, "of 10,000 tasks")
				if name != "nothing" {
					require.NotSame(t, tends, c.tender())
				}

				time.Sleep(time.Second)
				require.Nil(t, c.tender(), "all idle")
				require.Less(t, c.stream(waits, time.Second, 4*time.Second), time.Millisecond)
			})
		})
	}
}
