package internal_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// scriptRuns returns how many scripts Redis has run.
func scriptRuns(t *testing.T, c *redis.Client) (runs int) {
	t.Helper()
	text, err := c.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=(\d+)`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		runs += n
	}
	return runs
}

// TestAFloodOfHintsMakesNobodyAskRedisAtWill sends what needs no proof, as fast as it can.
func TestAFloodOfHintsMakesNobodyAskRedisAtWill(t *testing.T) {
	cfg := redistest.Start(t).Config()
	app := worker.NewApp()
	release := make(chan struct{})
	tasks.Handle(app, tasks.Definition{Name: "wait"}, func(ctx context.Context, _ int) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: cfg})
	api, k := set.Node("stellar-worker-1").API(), cfg.Keys()
	receipt, err := api.Tasks.EnqueueWith(t.Context(), "wait", 1, tasks.Options{Await: true})
	require.NoError(t, err)
	var waiters sync.WaitGroup
	for range 10 {
		waiters.Go(func() { _, err := api.Tasks.Wait(t.Context(), receipt.ID); require.NoError(t, err) })
	}
	attacker := redistest.Client(t, cfg)
	eventually(t, "all wait", func() bool {
		return attacker.PubSubNumSub(t.Context(), k.Ended(receipt.ID)).Val()[k.Ended(receipt.ID)] == 1
	})
	before, began := scriptRuns(t, attacker), time.Now()
	for range 200 {
		p := attacker.Pipeline()
		for range 100 {
			for _, channel := range []string{k.Wake(api.Incarnation.String()), k.Due(), k.Look(), k.Ended(receipt.ID)} {
				p.Publish(t.Context(), channel, "")
			}
		}
		_, err := p.Exec(t.Context())
		require.NoError(t, err)
	}
	time.Sleep(50 * time.Millisecond) // for what was put off
	took := time.Since(began)
	kinds := 3 // wakes, what movers look for, ends
	most := kinds*(20+int(took/(5*time.Millisecond))) + 100
	require.LessOrEqual(t, scriptRuns(t, attacker)-before, most, "80,000 hints in %s", took)
	close(release)
	waiters.Wait()
}

func TestAFloodThatAllNodesDropIsOneLine(t *testing.T) {
	log := &syncBuffer{}
	cfg := redistest.Start(t).Config()
	set, err := supervisor.New(supervisor.Config{Workers: 20, Redis: cfg}, nil, zerolog.New(log))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	require.NoError(t, set.AwaitReady(t.Context()))
	attacker := redistest.Client(t, cfg)
	for range 100 {
		require.NoError(t, attacker.Publish(t.Context(), cfg.Keys().Channel(), "forged").Err())
	}
	for _, node := range set.Nodes() {
		eventually(t, "it has heard all", func() bool { return node.API().Bus.Stats().Dropped[redisbus.DropProof] == 100 })
	}
	stop()
	require.NoError(t, <-done)
	require.Equal(t, 1, strings.Count(log.text(), "messages dropped"), "one line of the process, not of each node")
}
