package bench

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// waits collects how long after the time in its payload each task began.
type waits struct {
	mu   sync.Mutex
	took []time.Duration
}

// payloadAt is a time in ns.
func payloadAt(at time.Time) json.RawMessage {
	text, _ := json.Marshal(at.UnixNano())
	return text
}

func (w *waits) began(payload []byte) {
	now := time.Now()
	var at int64
	if json.Unmarshal(payload, &at) != nil {
		return // a task of another purpose
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, now.Sub(time.Unix(0, at)))
}

func (w *waits) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.took)
}

// quantiles are the p50 and p99 in µs; tasks that never began count as long as the
// patience.
func (w *waits) quantiles(b *scope, sent int) []float64 {
	b.Helper()
	await(b, "for tasks that wait", func() bool { return w.count() >= sent })
	w.mu.Lock()
	defer w.mu.Unlock()
	took := slices.Clone(w.took)
	for len(took) < sent {
		took = append(took, patience)
	}
	return quantiles(took)
}

// steady sends so many tasks per second, however long each takes, for a while.
func (w *waits) steady(b *scope, perSecond float64, enqueue func(i int, payload json.RawMessage) error) []float64 {
	b.Helper()
	sent := paced(b, perSecond, func(i int) error { return enqueue(i, payloadAt(time.Now())) })
	return w.quantiles(b, sent)
}

// pacedFor is for how long tasks come at a rate.
const pacedFor = 4 * time.Second

// paced calls f so many times per second for a while, each call on a goroutine of its
// own, and returns how many calls succeeded.
func paced(b *scope, perSecond float64, f func(i int) error) int {
	b.Helper()
	var all sync.WaitGroup
	var sent atomic.Int64
	start, n := time.Now(), 0
	for time.Since(start) < lasting(pacedFor) {
		for due := int(time.Since(start).Seconds() * perSecond); n < due; n++ {
			i := n
			all.Go(func() {
				if !b.failed(f(i)) {
					sent.Add(1)
				}
			})
		}
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	return int(sent.Load())
}
