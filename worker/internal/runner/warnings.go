package runner

import (
	"sync"
	"time"
)

// warnPause is the least time between two log lines about the same thing.
const warnPause = time.Minute

// maxWarnings is how many things are remembered: names may come from anybody.
const maxWarnings = 10_000

// Warnings bounds the log lines of a process about things that stay wrong: one a minute for
// each. It is safe for concurrent use.
type Warnings struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due reports whether the log may have a line about what now.
func (w *Warnings) due(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if last, known := w.last[what]; known && now.Sub(last) < warnPause {
		return false
	}
	if w.last == nil || len(w.last) >= maxWarnings {
		w.last = map[string]time.Time{}
	}
	w.last[what] = now
	return true
}
