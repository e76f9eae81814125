package tasks_test

import (
	"context"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// everything returns the contents of all keys, those of producers left out.
func (c *cluster) everything() map[string]any {
	c.t.Helper()
	ctx, all := c.t.Context(), map[string]any{}
	for _, key := range c.redis.Keys(ctx, "*").Val() {
		if strings.HasPrefix(key, c.keys.Producer("")) {
			continue
		}
		switch c.redis.Type(ctx, key).Val() {
		case "string":
			all[key] = c.redis.Get(ctx, key).Val()
		case "hash":
			all[key] = c.redis.HGetAll(ctx, key).Val()
		case "list":
			all[key] = c.redis.LRange(ctx, key, 0, -1).Val()
		case "set":
			all[key] = c.redis.SMembersMap(ctx, key).Val()
		case "zset":
			all[key] = c.redis.ZRangeWithScores(ctx, key, 0, -1).Val()
		}
	}
	return all
}

// restore makes all keys again what they were.
func (c *cluster) restore(all map[string]any) {
	c.t.Helper()
	ctx := c.t.Context()
	require.NoError(c.t, c.redis.FlushDB(ctx).Err())
	_, err := c.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for key, value := range all {
			switch v := value.(type) {
			case string:
				p.Set(ctx, key, v, 0)
			case map[string]string:
				p.HSet(ctx, key, v)
			case []string:
				p.RPush(ctx, key, v)
			case map[string]struct{}:
				for member := range v {
					p.SAdd(ctx, key, member)
				}
			case []redis.Z:
				p.ZAdd(ctx, key, v...)
			}
		}
		return nil
	})
	require.NoError(c.t, err)
}

// mixed fills the cluster with a task in every state. One is in the hands of the
// condemned incarnation that it returns.
func mixed(t *testing.T, c *cluster, r *tasks.Registry) string {
	t.Helper()
	_, err := c.inspector.LimitQueue(t.Context(), "default", &tasks.Limits{Tasks: 1000, Bytes: 1e6, Concurrency: 100})
	require.NoError(t, err)
	n := c.startWith(runner.Config{Registry: r, Concurrency: 3, Queues: []string{"default", "parking"}})
	c.enqueue("fails", tasks.Options{ID: "dead", Unique: "u"})
	c.enqueue("done", tasks.Options{ID: "done", WantResult: true})
	c.enqueue("unknown", tasks.Options{ID: "parked", Queue: "parking"})
	c.eventually("ended", func() bool {
		return c.counts().Done == 1 && c.counts().Dead == 1 && c.get("parked").State == tasks.Parked
	})
	n.stop()
	started, _ := blocking(r, "work")
	n = c.start(r, 1)
	c.enqueue("work", tasks.Options{ID: "active"})
	receive(t, started)
	n.kill(tasks.ErrEnding)
	require.NoError(t, <-n.ended)
	n.lease.Release()
	_, err = n.directory.Condemn(t.Context(), n.lease.Incarnation, false, 0)
	require.NoError(t, err)

	c.enqueue("done", tasks.Options{ID: "pending"})
	c.enqueue("done", tasks.Options{ID: "delayed", In: time.Hour})
	c.enqueue("done", tasks.Options{ID: "blocked", After: []string{"pending", "delayed"}})
	c.enqueue("done", tasks.Options{ID: "gone", In: time.Hour, Unique: "v", UniqueFor: time.Hour})
	_, err = c.inspector.Cancel(t.Context(), "gone", "test")
	require.NoError(t, err)
	return n.lease.Incarnation.String()
}

// program is everything that a program can do with tasks.
type program struct {
	*tasks.Client
	*tasks.Inspector
}

func TestAKeyOfAnotherTypeIsNamedAndNothingIsHalfDone(t *testing.T) {
	operations := map[string]func(ctx context.Context, q program) error{
		"plain": func(ctx context.Context, q program) error { _, err := q.Enqueue(ctx, "done", 1); return err },
		"bound": func(ctx context.Context, q program) error {
			_, err := q.EnqueueMany(ctx, []tasks.Request{
				{Name: "done", Options: tasks.Options{ID: "new", Unique: "new", Priority: tasks.High}, Then: []tasks.Request{{Name: "done"}}},
				{Name: "done", Options: tasks.Options{In: time.Hour, Queue: "other"}},
				{Name: "done", Options: tasks.Options{After: []string{"gone", "pending"}}},
			})
			return err
		},
		"cancel": func(ctx context.Context, q program) error {
			_, err := q.CancelAll(ctx, tasks.Filter{States: []tasks.State{tasks.Pending, tasks.Delayed}}, "test")
			return err
		},
		"delete":     func(ctx context.Context, q program) error { return q.Delete(ctx, "pending") },
		"retry":      func(ctx context.Context, q program) error { return q.Retry(ctx, "dead") },
		"reschedule": func(ctx context.Context, q program) error { return q.RescheduleIn(ctx, "delayed", 0) },
		"clear":      func(ctx context.Context, q program) error { _, err := q.DeleteQueue(ctx, "default"); return err },
		"limit": func(ctx context.Context, q program) error {
			_, err := q.LimitQueue(ctx, "parking", &tasks.Limits{Bytes: 100})
			return err
		},
		"pause": func(ctx context.Context, q program) error { return q.PauseQueue(ctx, "default", true) },
	}
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "done"}, func(ctx context.Context, _ any) error { tasks.Tx(ctx).Result(1); return nil })
		tasks.Handle(&r, tasks.Definition{Name: "fails", MaxAttempts: 1}, func(context.Context, any) error { return context.Canceled })
		c := newCluster(t, cfg, &r)
		ctx, k := t.Context(), c.keys
		over := mixed(t, c, &r)
		operations["take over"] = func(ctx context.Context, _ program) error {
			_, err := queue.NewStore(c.redis, k).TakeOver(ctx, over, queue.Remains{Unknown: true})
			return err
		}
		sound := c.everything()
		names := []string{k.Queue("default^"), k.Queue("other"), k.Delayed("other"), k.Waiting(), k.Cancelling(), k.Progress(), k.Active()}
		for key := range sound {
			if strings.HasPrefix(key, k.Prefix()) && !strings.HasPrefix(key, k.Numbers("")) && key != k.Layout() && key != k.Epoch() && key != k.Members() {
				names = append(names, key)
			}
		}
		failed := 0
		for _, key := range names {
			for name, do := range operations {
				broken := maps.Clone(sound)
				broken[key] = map[string]struct{}{"x": {}}
				if _, isSet := sound[key].(map[string]struct{}); isSet {
					broken[key] = "x"
				}
				c.restore(broken)
				client := tasks.NewClient(ctx, c.redis, k, &r)
				err := do(ctx, program{client, c.inspector})
				client.Close()
				if err != nil {
					failed++
					after := c.everything()
					maps.DeleteFunc(after, func(k string, v any) bool { return reflect.DeepEqual(v, broken[k]) })
					require.Empty(t, after, "%s failed with %v beside a wrong %s, and changed something", name, err, key)
				}
			}
		}
		require.Greater(t, failed, 2*len(names), "every operation needs many of them")
	})
}
