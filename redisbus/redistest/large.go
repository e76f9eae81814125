package redistest

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Large is the size in bytes of a [LargeText].
const Large = 25 << 20

// LargeText returns a text of [Large] bytes that begins with prefix.
func LargeText(prefix string) string { return prefix + strings.Repeat("x", Large-len(prefix)) }

// PublishLarge publishes a [LargeText] on the channel.
func PublishLarge(t testing.TB, c *redis.Client, channel, text string) {
	t.Helper()
	if err := c.WithTimeout(time.Minute).Publish(context.Background(), channel, text).Err(); err != nil {
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
