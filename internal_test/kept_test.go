package internal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A task that ran once and is kept takes little more than its record does: README and the
// benchmarks promise 300 bytes for a payload of 100.
func TestADoneTaskThatIsKeptTakesFewBytes(t *testing.T) {
	const n, most = 10_000, 300
	cfg := redistest.Start(t).Config()
	app := worker.NewApp()
	app.RegisterTask(tasks.Definition{Name: "work"}, func(context.Context, json.RawMessage) error { return nil })
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 4, Concurrency: 10, Redis: cfg})
	api := set.Node("stellar-worker-1").API()
	news := make([]tasks.Request, n)
	for i := range news {
		news[i] = tasks.Request{Name: "work", Payload: json.RawMessage(`"` + strings.Repeat("x", 98) + `"`), Options: tasks.Options{Retention: time.Hour}}
	}
	_, err := api.Tasks.EnqueueMany(t.Context(), news)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		counts, err := api.Inspector.Counts(t.Context())
		return err == nil && counts.Done == n
	}, time.Minute, 10*time.Millisecond)

	c := redistest.Client(t, cfg)
	total, large := int64(0), []string{}
	for _, key := range c.Keys(t.Context(), cfg.Keys().Prefix()+"*").Val() {
		bytes := c.MemoryUsage(t.Context(), key, 0).Val()
		total += bytes
		if bytes > n {
			large = append(large, fmt.Sprintf("%s %.1f", key, float64(bytes)/n))
		}
	}
	require.LessOrEqual(t, total/n, int64(most), "bytes of a task: %v", large)
}
