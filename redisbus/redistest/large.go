package redistest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Large is the size in bytes of the messages of [PublishLarge].
const Large = 25 << 20

// PublishLarge has Redis make a message of [Large] bytes and publish it on the channel.
func PublishLarge(t testing.TB, c *redis.Client, channel string) {
	t.Helper()
	EvalLarge(t, c, "redis.call('PUBLISH', name, large)", channel)
}

// EvalLarge runs a script in which large is a string of [Large] bytes.
func EvalLarge(t testing.TB, c *redis.Client, script, name string) {
	t.Helper()
	script = "local name, large = ARGV[1], string.rep(string.rep('x', 1024), tonumber(ARGV[2])) " + script + " return 1"
	if err := c.WithTimeout(time.Minute).Eval(context.Background(), script, nil, name, Large/1024).Err(); err != nil {
		t.Fatal(err)
	}
}

// KeepsMemory fails the test if f, during which large messages are published, has the process
// allocate as much as one of these. The embedded Redis does so itself: there f is only called.
func KeepsMemory(t testing.TB, cfg link.Config, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; cfg.Dial == nil && got > Large/2 {
		t.Errorf("%d MiB were allocated", got>>20)
	}
}
