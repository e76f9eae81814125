package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

var isDone = tasks.Filter{States: []tasks.State{tasks.Done}}

// A record says when and where its task was done, so that most tasks need no history.
func TestATaskThatIsKeptIsShownAndListedAsBefore(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		failed := false
		tasks.Handle(&r, tasks.Definition{Name: "n", Retention: time.Hour, Backoff: time.Millisecond}, func(ctx context.Context, in number) error {
			if in.N == 1 && !failed {
				failed = true
				return errors.New("not yet")
			}
			tasks.Tx(ctx).Result(in.N)
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "once"}, func(context.Context, number) error { return nil })
		c := newCluster(t, cfg, &r)
		c.startMover()
		n := c.start(&r, 1)
		incarnation := n.lease.Incarnation.String()
		enqueue := func(name string, in number, o tasks.Options) string {
			receipt, err := c.tasks.EnqueueWith(t.Context(), name, in, o)
			require.NoError(t, err)
			c.eventually("done", func() bool {
				task, err := c.inspector.Get(t.Context(), receipt.ID)
				return err == nil && task.State == tasks.Done
			})
			return receipt.ID
		}
		before := time.Now().Add(-time.Millisecond)
		once := enqueue("n", number{5}, tasks.Options{Meta: map[string]string{"tenant": "a|b+c"}})
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.History(), c.keys.Done()).Val(), "its record is enough")
		twice := enqueue("n", number{1}, tasks.Options{ID: "mine", Retention: 2 * time.Hour})
		idOnly := enqueue("once", number{}, tasks.Options{ID: "alone"})

		task := c.get(once)
		short, _, _ := strings.Cut(incarnation, ":")
		require.Equal(t, []tasks.Event{{At: task.Ended, What: "done", Node: short}}, task.History)
		require.WithinRange(t, task.Ended, before, time.Now().Add(time.Millisecond))
		require.WithinRange(t, task.Kept, task.Ended.Add(time.Hour), task.Ended.Add(time.Hour+time.Hour/64))
		require.Equal(t, `{"N":5}`, string(task.Payload))
		require.Equal(t, `5`, string(task.Result))
		require.Equal(t, "a|b+c", task.Meta["tenant"])
		task = c.get(twice)
		require.Equal(t, []string{"failed", "done"}, events(task))
		require.Equal(t, incarnation, task.History[1].Node)
		require.Equal(t, task.Ended, task.History[1].At)
		require.WithinRange(t, task.Kept, task.Ended.Add(24*time.Hour), task.Ended.Add(24*time.Hour), "its id stays taken")
		require.True(t, c.get(idOnly).Ended.IsZero())

		old := c.keepAsBefore("older", twice)
		require.Equal(t, []string{twice, once, old, idOnly}, c.list(isDone), "the latest first, each once")
		for task, err := range c.inspector.List(t.Context(), isDone) {
			require.NoError(t, err)
			shown := c.get(task.ID)
			require.Equal(t, []any{shown.Ended, shown.Payload}, []any{task.Ended, task.Payload}, task.ID)
		}
		require.Equal(t, []string{"done"}, events(c.get(old)))
		ended := c.get(once).Ended
		require.Equal(t, []string{once}, c.list(tasks.Filter{States: isDone.States, Since: ended, Until: ended.Add(time.Millisecond), Name: "n", Text: `"N":5`}))
		for id, want := range map[string]string{once: "5", twice: "1", old: "7"} {
			result, err := c.tasks.Wait(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, want, string(result))
		}
		receipt, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{ID: twice})
		require.NoError(t, err)
		require.True(t, receipt.Duplicate)
		deleted, err := c.inspector.DeleteAll(t.Context(), isDone)
		require.NoError(t, err)
		require.Equal(t, 4, deleted)
		require.Empty(t, c.list(isDone))
		require.Equal(t, twice, enqueue("n", number{2}, tasks.Options{ID: twice}), "its id is free")
		require.Equal(t, []string{twice}, c.list(isDone), "once, though the list has its id twice")
	})
}

// keepAsBefore stores a task as programs before the retained lists kept one that was done, a
// little before the other, and returns its id.
func (c *cluster) keepAsBefore(id, other string) string {
	c.t.Helper()
	ended := c.get(other).Ended.UnixMilli() - 1
	ctx := c.t.Context()
	_, err := c.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, c.keys.Tasks(), id, fmt.Sprintf("n|default|%x|\n{\"N\":7}", ended-10))
		p.HSet(ctx, c.keys.History(), id, fmt.Sprintf("%d|done|{\"node\":\"w-1#1:00\"}\n", ended))
		p.HSet(ctx, c.keys.Results(), id, "7")
		p.ZAdd(ctx, c.keys.Done(), redis.Z{Score: float64(ended + 25*3600e3), Member: id})
		return nil
	})
	require.NoError(c.t, err)
	return id
}

func TestTasksAreForgottenAfterTheirRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "n"}, func(context.Context, json.RawMessage) error { return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 10)
		began := time.Now()
		retentions := []time.Duration{time.Second, time.Minute, time.Hour + time.Second}
		var ids []string
		for _, d := range retentions {
			ids = append(ids, c.enqueue("n", tasks.Options{Retention: d}))
		}
		time.Sleep(100 * time.Millisecond)
		for i, d := range retentions {
			time.Sleep(time.Until(began.Add(d - time.Millisecond)))
			require.Equal(t, tasks.Done, c.get(ids[i]).State)
			require.ElementsMatch(t, ids[i:], c.list(isDone), "not before %s", d)
			time.Sleep(d/64 + 6*time.Second) // a mover looks every 5 s
			require.ElementsMatch(t, ids[i+1:], c.list(isDone), "after %s", d)
		}
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Tasks(), c.keys.RetainedLists(), c.keys.Results()).Val())
		require.Empty(t, c.redis.Keys(t.Context(), c.keys.Retained("*")).Val())
	})
}
