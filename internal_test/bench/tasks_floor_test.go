package bench

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

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

var (
	floorKeys   = []string{"{floor}:tasks", "{floor}:queue"}
	floorRecord = "noop|default|k3jx9aqz|\n" + string(taskPayload)
)

// floorClient has the buffers that suit it best.
func floorClient(b *scope) *redis.Client {
	b.Helper()
	c := redis.NewClient(&redis.Options{
		Network: "unix", Addr: strings.TrimPrefix(redistest.Start(b).Config().URL, "unix://"),
		WriteBufferSize: 64 << 10, MaxRetries: -1,
	})
	must(b.B, floorScript.Load(context.Background(), c).Err())
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// floorBulk is what Redis and the client library allow: batches of 500, two at a time.
func floorBulk(b *scope, n int) figures {
	c := floorClient(b)
	start := time.Now()
	var wg sync.WaitGroup
	for half := range 2 {
		wg.Go(func() {
			for from := half * 500; from < n; from += 1000 {
				args := make([]any, 0, 1000)
				for i := from; i < from+500; i++ {
					args = append(args, "abcdefghij"+strconv.Itoa(1000+i), floorRecord)
				}
				must(b.B, floorScript.EvalSha(context.Background(), c, floorKeys, args...).Err())
			}
		})
	}
	wg.Wait()
	return figures{rate: float64(n) / time.Since(start).Seconds()}
}

// floorCallers is the same one by one, with the client library's automatic pipelining.
func floorCallers(b *scope, callers, n int) figures {
	piped, err := floorClient(b).AutoPipeline()
	must(b.B, err)
	b.Cleanup(func() { _ = piped.Close() })
	var serial atomic.Int64
	return each(b, callers, n, func() error {
		id := "abcdefghij" + strconv.FormatInt(1000+serial.Add(1), 10)
		return floorScript.EvalSha(context.Background(), piped, floorKeys, id, floorRecord).Err()
	})
}
