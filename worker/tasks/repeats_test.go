package tasks_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// notes collects log lines.
type notes struct {
	mu    sync.Mutex
	lines []string
}

// Write implements io.Writer.
func (n *notes) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, string(line))
	return len(line), nil
}

// about returns the lines that contain all these texts.
func (n *notes) about(texts ...string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, line := range n.lines {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			out = append(out, line)
		}
	}
	return out
}

func TestATaskThatRedisCanPutNowhereIsNamed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		tasks.Handle(&r, tasks.Definition{Name: "fails"}, func(context.Context, number) error { return errors.New("no") })
		c := newCluster(t, cfg, &r)
		place := c.keys.Delayed(tasks.DefaultQueue)
		require.NoError(t, c.redis.Set(t.Context(), place, "x", 0).Err())
		var log notes
		id := c.enqueue("fails", tasks.Options{})
		c.startWith(runner.Config{Registry: &r, Concurrency: 1, Reports: link.NewReports(zerolog.New(&log))})
		c.eventually("it is said", func() bool { return len(log.about(id, strings.ReplaceAll(place, `"`, `\"`), "trying again")) == 1 })
		require.NoError(t, c.redis.Del(t.Context(), place).Err())
		c.eventually("it goes on", func() bool { return c.get(id).State == tasks.Delayed })
		require.Len(t, log.about("redis takes what it had refused"), 1)
	})
}
