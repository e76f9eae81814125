package embedded

import (
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// expiry makes miniredis's TTLs follow the clock. miniredis can do so by itself, but then it
// sorts all its keys before every command, also before those of scripts: with a thousand
// nodes, or as many cache entries, nothing else would be done.
type expiry struct {
	redis *miniredis.Miniredis

	mu   sync.Mutex
	last time.Time     // up to here the TTLs have run down
	cost time.Duration // of the last advance
}

// An advance takes at most every expiryShare-th part of the time, as long as it comes at
// least every expiryPause. A key may expire earlier by the time between two advances.
const (
	expiryShare = 50
	expiryPause = 20 * time.Millisecond
)

// advance lets the TTLs run down to now. It is called before commands are handed to the
// server, and does nothing if it did so just before.
func (e *expiry) advance() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	elapsed := now.Sub(e.last)
	if elapsed <= 0 || elapsed < min(expiryShare*e.cost, expiryPause) {
		return
	}
	e.redis.FastForward(elapsed)
	e.last, e.cost = now, time.Since(now)
}
