package bench

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// floorScript stores tasks and does nothing else that a queue has to do: no
// deduplication, no limits, no types checked, nobody woken.
var floorScript = redis.NewScript(`
for from = 1, #ARGV, 500 do
  local words, ids = {unpack(ARGV, from, math.min(from + 499, #ARGV))}, {}
  for i = 1, #words, 2 do ids[#ids + 1] = words[i] end
  redis.call('HSET', KEYS[1], unpack(words))
  redis.call('LPUSH', KEYS[2], unpack(ids))
end
return 1`)

const floorTasks, floorQueue = "{floor}:tasks", "{floor}:queue"

// floorRecord is what a task of taskPayload is stored as.
var floorRecord = "work|default|k3jx9aqz|\n" + string(taskPayload)

// floorClient has the buffers that suit it best.
func floorClient(b *scope, cfg link.Config) *redis.Client {
	b.Helper()
	c := redis.NewClient(&redis.Options{
		Network: "unix", Addr: strings.TrimPrefix(cfg.URL, "unix://"), PoolSize: 64,
		WriteBufferSize: 64 << 10, MaxRetries: -1,
	})
	must(b, floorScript.Load(context.Background(), c).Err())
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// autoPiped is the client library's automatic pipelining.
func autoPiped(b *scope, c *redis.Client) redis.Cmdable {
	b.Helper()
	piped, err := c.AutoPipeline()
	must(b, err)
	b.Cleanup(func() { _ = piped.Close() })
	return piped
}

// floorBulk is what Redis and the client library allow: batches of 500, two at a time.
func floorBulk(b *scope, c *redis.Client, n int) time.Duration {
	b.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	for half := range 2 {
		wg.Go(func() {
			for from := half * 500; from < n; from += 1000 {
				args := make([]any, 0, 1000)
				for i := from; i < min(n, from+500); i++ {
					args = append(args, "abcdefghij"+strconv.Itoa(1000+i), floorRecord)
				}
				if err := floorScript.EvalSha(context.Background(), c, []string{floorTasks, floorQueue}, args...).Err(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// floorEnqueuer is the same one by one; several callers are pipelined.
func floorEnqueuer(b *scope, cfg link.Config, callers int) func(caller int) error {
	b.Helper()
	c := floorClient(b, cfg)
	to := redis.Cmdable(c)
	if callers > 1 {
		to = autoPiped(b, c)
	}
	var serial atomic.Int64
	return func(int) error {
		id := "abcdefghij" + strconv.FormatInt(1000+serial.Add(1), 10)
		return to.EvalSha(context.Background(), floorScript.Hash(), []string{floorTasks, floorQueue}, id, floorRecord).Err()
	}
}

// startFloor calls f for each task of the floor's queue: a blocking pop of up to 100
// tasks, then a pipeline that reads and deletes them. A task is lost if this dies.
func startFloor(b *scope, cfg link.Config, f func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := floorClient(b, cfg)
	var ended sync.WaitGroup
	ended.Go(func() {
		for ctx.Err() == nil {
			_, ids, err := c.BLMPop(ctx, time.Second, "RIGHT", 100, floorQueue).Result()
			if errors.Is(err, redis.Nil) || ctx.Err() != nil {
				continue
			}
			if err == nil {
				_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
					p.HMGet(ctx, floorTasks, ids...)
					p.HDel(ctx, floorTasks, ids...)
					return nil
				})
			}
			if err != nil && ctx.Err() == nil {
				b.Error(err)
				return
			}
			for range ids {
				f()
			}
		}
	})
	b.Cleanup(func() {
		cancel()
		ended.Wait()
	})
}

// floorOn is a new Redis with the floor's consumer.
func floorOn(b *scope, f func()) link.Config {
	b.Helper()
	cfg := redistest.Start(b).Config()
	startFloor(b, cfg, f)
	return cfg
}
