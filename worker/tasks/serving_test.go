package tasks_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// manyQueues are more than a node names in its claims.
func manyQueues(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("q%d", n-i)
	}
	return all
}

func TestNodesOfManyQueuesAreWokenForAnyOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ran := make(chan string)
		tasks.Handle(&r, tasks.Definition{Name: "work"}, func(ctx context.Context, _ any) error {
			ran <- tasks.InfoOf(ctx).Queue
			return nil
		})
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		queues := manyQueues(300)
		for _, served := range [][]string{queues, queues, queues[100:], {"q300"}} {
			c.startWith(runner.Config{Registry: &r, Concurrency: 2, Queues: served})
		}
		synctest.Wait()
		began := time.Now()
		for _, q := range []string{"q300", "q1", "q150", "q1", "q299"} {
			c.enqueue("work", tasks.Options{Queue: q})
			require.Equal(t, q, <-ran)
			synctest.Wait()
		}
		for range 7 { // as many as all slots of the nodes that serve it
			c.enqueue("work", tasks.Options{Queue: "q300"})
			c.enqueue("work", tasks.Options{Queue: "q7"})
		}
		for range 14 {
			<-ran
		}
		require.LessOrEqual(t, time.Since(began), 4*time.Millisecond, "but for the pauses of a node that tends q300, "+
			"no node looked only because time had passed")
	})
}

func TestAQueueOfManyIsServedByWhomNobodyForgets(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "work")
		defer close(release)
		c := newCluster(t, cfg, &r)
		c.startWith(runner.Config{Registry: &r, Concurrency: 1, Queues: manyQueues(20)})
		c.enqueue("work", tasks.Options{Queue: "q3"})
		receive(t, started)
		waits := c.enqueue("work", tasks.Options{Queue: "q3"})
		c.enqueue("work", tasks.Options{Queue: "nobodys"})
		forgotten, err := c.inspector.Forgotten(t.Context())
		require.NoError(t, err)
		require.Equal(t, []tasks.Forgotten{{Queue: "nobodys", Tasks: 1}}, forgotten)
		e, err := c.inspector.Explain(t.Context(), waits)
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(e.Why), "the node that serves its queue")
	})
}
