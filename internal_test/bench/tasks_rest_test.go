package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// infoOf returns a number of Redis's INFO.
func infoOf(b *scope, c redis.UniversalClient, section, name string) float64 {
	b.Helper()
	text, err := c.Info(context.Background(), section).Result()
	must(b.B, err)
	_, text, _ = strings.Cut(text, "\n"+name+":")
	text, _, _ = strings.Cut(text, "\r")
	v, err := strconv.ParseFloat(text, 64)
	must(b.B, err)
	return v
}

// BenchmarkTasksMemory is what a queued task of 100 bytes takes of Redis's memory.
// Run it with -benchtime=1x.
func BenchmarkTasksMemory(b *testing.B) {
	const n = 200_000
	fmt.Printf("\n%-12s %18s\n", "peer", "bytes a task")
	for _, peer := range []string{"stellar", "asynq"} {
		inOwn(b, func(b *scope) {
			cfg := redistest.Start(b).Config()
			c, queue, other := redistest.Client(b, cfg), taskClient(b, cfg), asynqOn(b, cfg)
			before := infoOf(b, c, "memory", "used_memory")
			if peer == "stellar" {
				bulk(b, queue, n)
			} else {
				each(b, 64, n, func() error {
					_, err := other.client.Enqueue(asynq.NewTask("noop", taskPayload))
					return err
				})
			}
			fmt.Printf("%-12s %18.0f\n", peer, (infoOf(b, c, "memory", "used_memory")-before)/n)
		})
	}
}

// BenchmarkTasksRest is what 100 nodes, or servers of the peer, cost at rest. Run it
// with -benchtime=1x.
func BenchmarkTasksRest(b *testing.B) {
	fmt.Printf("\n%-12s %12s %14s\n", "peer", "commands/s", "CPU-s/min")
	for range taskRounds {
		for _, peer := range []string{"stellar", "asynq"} {
			inOwn(b, func(b *scope) {
				cfg := redistest.Start(b).Config()
				if peer == "stellar" {
					startTasks(b, cfg, 100, func() {})
				} else {
					stop := asynqOn(b, cfg).start(100, func() {})
					b.Cleanup(stop)
				}
				c := redistest.Client(b, cfg)
				time.Sleep(8 * time.Second) // what a start costs is over
				commands := infoOf(b, c, "stats", "total_commands_processed")
				began, cpu := time.Now(), nodesCPU()
				time.Sleep(nodesIdle)
				took := time.Since(began).Seconds()
				cpu, commands = nodesCPU()-cpu, infoOf(b, c, "stats", "total_commands_processed")-commands
				fmt.Printf("%-12s %12.1f %14.2f\n", peer, commands/took, cpu.Seconds()*60/took)
			})
		}
	}
}
