package tasks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// large is a payload that has a key of its own; its end tells it from others.
func large(end string) json.RawMessage {
	return json.RawMessage(`{"text":"` + strings.Repeat("x", 100_000) + `","end":"` + end + `"}`)
}

// scriptSizes is a hook that notes the largest argument of a script.
type scriptSizes struct{ most int }

func (s *scriptSizes) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *scriptSizes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.note(cmd)
		return next(ctx, cmd)
	}
}

func (s *scriptSizes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			s.note(cmd)
		}
		return next(ctx, cmds)
	}
}

func (s *scriptSizes) note(cmd redis.Cmder) {
	if name := cmd.Name(); name == "evalsha" {
		for _, arg := range cmd.Args() {
			s.most = max(s.most, link.TextSize([]any{arg}))
		}
	}
}

// bodies returns the keys of large payloads.
func (c *cluster) bodies() []string {
	c.t.Helper()
	keys, err := c.redis.Keys(c.t.Context(), c.keys.Body("*")).Result()
	require.NoError(c.t, err)
	return keys
}

func TestLargePayloadsGoThroughNoScript(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		ran := make(chan json.RawMessage, 10)
		failing := errors.New("not yet")
		r.RegisterTask(tasks.Definition{Name: "large", MaxAttempts: 1}, func(ctx context.Context, payload json.RawMessage) error {
			ran <- payload
			switch {
			case bytes.HasSuffix(payload, []byte(`"fails"}`)):
				return tasks.Discard(failing)
			case bytes.HasSuffix(payload, []byte(`"first"}`)):
				tasks.Tx(ctx).Enqueue("large", large("follow-up"))
			}
			return nil
		})
		c := newCluster(t, cfg, &r)
		sizes := &scriptSizes{}
		c.redis.AddHook(sizes)
		require.NoError(t, c.redis.ScriptFlush(t.Context()).Err())

		enqueue := func(end string, o tasks.Options) string {
			receipt, err := c.tasks.EnqueueWith(t.Context(), "large", large(end), o)
			require.NoError(t, err)
			return receipt.ID
		}
		first := enqueue("first", tasks.Options{})
		delayed := enqueue("delayed", tasks.Options{In: time.Hour, ID: "mine", Unique: "key"})
		kept := enqueue("kept", tasks.Options{Retention: time.Hour})
		dead := enqueue("fails", tasks.Options{})
		require.Len(t, c.bodies(), 4)
		for _, o := range []tasks.Options{{ID: "mine"}, {Unique: "key"}} {
			receipt, err := c.tasks.EnqueueWith(t.Context(), "large", large("another"), o)
			require.NoError(t, err)
			require.True(t, receipt.Duplicate)
		}
		require.Len(t, c.bodies(), 4, "a refused task leaves nothing")
		require.Less(t, sizes.most, 1000, "bytes of a script's argument")

		shows := func(id, end string) {
			t.Helper()
			task, err := c.inspector.Get(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, string(large(end)), string(task.Payload))
		}
		shows(delayed, "delayed")
		for task, err := range c.inspector.List(t.Context(), tasks.Filter{Text: `"end":"fails"`}) {
			require.NoError(t, err)
			require.Equal(t, dead, task.ID)
			require.Equal(t, string(large("fails")), string(task.Payload))
		}

		n := c.start(&r, 1)
		for _, end := range []string{"first", "kept", "fails", "follow-up"} {
			require.Equal(t, string(large(end)), string(receive(t, ran)))
		}
		c.eventually("all have ended", func() bool { return c.counts().Active+c.counts().Pending == 0 })
		shows(kept, "kept")
		shows(dead, "fails")
		_, err := c.inspector.Get(t.Context(), first)
		require.ErrorIs(t, err, tasks.ErrNotFound)
		require.Len(t, c.bodies(), 3, "delayed, kept and dead ones")
		require.NoError(t, c.inspector.Retry(t.Context(), dead))
		require.Equal(t, string(large("fails")), string(receive(t, ran)))
		require.NoError(t, c.inspector.RescheduleIn(t.Context(), delayed, 0))
		require.Equal(t, string(large("delayed")), string(receive(t, ran)))
		c.eventually("all have ended", func() bool { return c.counts().Active+c.counts().Pending == 0 })
		require.Len(t, c.bodies(), 2)
		for _, id := range []string{kept, dead} {
			require.NoError(t, c.inspector.Delete(t.Context(), id))
		}
		require.Empty(t, c.bodies())
		require.Zero(t, c.redis.Exists(t.Context(), c.keys.Bodies()).Val())
		n.stop()
	})
}

func TestLostRepliesLoseNoLargePayload(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		proxy := &lossy{Config: cfg}
		var r tasks.Registry
		ran := make(chan string, 100)
		r.RegisterTask(tasks.Definition{Name: "large", MaxAttempts: 1}, func(ctx context.Context, payload json.RawMessage) error {
			var in struct {
				End string `json:"end"`
			}
			if err := json.Unmarshal(payload, &in); err != nil {
				return err
			}
			if in.End != "follow-up" {
				tasks.Tx(ctx).Enqueue("large", large("follow-up"))
			}
			ran <- in.End
			return nil
		})
		c := newCluster(t, proxy.config(t), &r)
		c.startMover()
		n := c.start(&r, 4)
		proxy.every.Store(5)
		const many = 20
		for range many {
			_, err := c.tasks.Enqueue(t.Context(), "large", large("first"))
			require.NoError(t, err)
		}
		for range 2 * many {
			receive(t, ran)
		}
		c.eventually("all done", func() bool { done, err := c.inspector.Counts(t.Context()); return err == nil && done.Done == 2*many })
		proxy.every.Store(0)
		require.NotZero(t, proxy.lost.Load())
		n.stop()
		require.Empty(t, ran)
		for _, key := range c.bodies() { // of a copy that came late
			require.Positive(t, c.redis.PTTL(t.Context(), key).Val())
		}
	})
}

func TestAFullRedisTakesNoLargePayload(t *testing.T) {
	cfg := redistest.Start(t).Config()
	var r tasks.Registry
	r.RegisterTask(tasks.Definition{Name: "large", MaxAttempts: 1}, func(context.Context, json.RawMessage) error { return nil })
	c := newCluster(t, cfg, &r)
	require.NoError(t, c.redis.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err := c.tasks.Enqueue(t.Context(), "large", large("full"))
	require.ErrorIs(t, err, link.ErrFull)
	require.Empty(t, c.bodies())
	require.NoError(t, c.redis.ConfigSet(t.Context(), "maxmemory", "0").Err())
	_, err = c.tasks.Enqueue(t.Context(), "large", large("fits"))
	require.NoError(t, err)
}

// A node whose commits were refused would never free memory.
func TestACommitWithALargePayloadGoesThroughAtMaxMemory(t *testing.T) {
	cfg := redistest.Start(t).Config()
	var r tasks.Registry
	began, goOn, follows := make(chan struct{}), make(chan struct{}), make(chan json.RawMessage, 1)
	r.RegisterTask(tasks.Definition{Name: "first"}, func(ctx context.Context, _ json.RawMessage) error {
		close(began)
		<-goOn
		tasks.Tx(ctx).EnqueueWith("large", large("follow-up"), tasks.Options{ID: "follow-up"})
		return nil
	})
	r.RegisterTask(tasks.Definition{Name: "large"}, func(_ context.Context, payload json.RawMessage) error {
		follows <- payload
		return nil
	})
	c := newCluster(t, cfg, &r)
	n := c.start(&r, 1)
	_, err := c.tasks.Enqueue(t.Context(), "first", 1)
	require.NoError(t, err)
	receive(t, began)
	require.NoError(t, c.redis.ConfigSet(t.Context(), "maxmemory", "1").Err())
	close(goOn)
	require.Equal(t, string(large("follow-up")), string(receive(t, follows)))
	require.Empty(t, c.bodies())
	c.eventually("both done", func() bool { return c.counts().Active == 0 })
	n.stop()
}

func TestAReplicaTakesNoLargePayload(t *testing.T) {
	cfg := redistest.Start(t).Config()
	var r tasks.Registry
	r.RegisterTask(tasks.Definition{Name: "large", MaxAttempts: 1}, func(context.Context, json.RawMessage) error { return nil })
	c := newCluster(t, cfg, &r)
	require.NoError(t, c.redis.Do(t.Context(), "replicaof", "127.0.0.1", "1").Err())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := c.tasks.Enqueue(ctx, "large", large("refused"))
	require.ErrorIs(t, err, link.ErrUnavailable)
	require.NotErrorIs(t, err, link.ErrUnknownOutcome)
	require.ErrorContains(t, err, "is a replica")
	ended := make(chan error, 1)
	go func() {
		_, err := c.tasks.Enqueue(t.Context(), "large", large("waits"))
		ended <- err
	}()
	require.NoError(t, link.Retry(t.Context(), func(ctx context.Context) error { return c.redis.Do(ctx, "replicaof", "no", "one").Err() }))
	require.NoError(t, receive(t, ended))
	require.Len(t, c.bodies(), 1)
}

// What a crash of Redis's host leaves of the AOF ends anywhere: no task is there without its payload.
func TestATornAOFHasNoTaskWithoutItsPayload(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--dir", dir, "--appendonly", "yes", "--appendfsync", "always"}
	server := redistest.Start(t, args...)
	var r tasks.Registry
	r.RegisterTask(tasks.Definition{Name: "large", MaxAttempts: 1}, func(context.Context, json.RawMessage) error { return nil })
	c := newCluster(t, server.Config(), &r)
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	length := func() int64 {
		info, err := os.Stat(files[0])
		require.NoError(t, err)
		return info.Size()
	}
	_, err = c.tasks.Enqueue(t.Context(), "large", large("first"))
	require.NoError(t, err)
	before := length()
	_, err = c.tasks.Enqueue(t.Context(), "large", large("torn"))
	require.NoError(t, err)
	after := length()
	require.Greater(t, after-before, int64(100_000))
	server.Kill()
	whole, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for _, cut := range []int64{after, after - 1, after - 20, after - 60, after - 120, after - 300, before + 99_000, before + 60, before + 10, before} {
		require.NoError(t, os.WriteFile(files[0], whole[:cut], 0o600))
		again := redistest.Start(t, args...)
		look := redistest.Client(t, again.Config())
		stored := tasks.NewInspector(look, c.keys)
		n := 0
		for task, err := range stored.List(t.Context(), tasks.Filter{}) {
			require.NoError(t, err)
			require.Greater(t, len(task.Payload), 100_000, "cut at %d of %d", cut, after)
			n++
		}
		require.Equal(t, map[bool]int{true: 2, false: 1}[cut == after], n)
		again.Kill()
	}
}
