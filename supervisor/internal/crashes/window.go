// Package crashes counts the latest crashes of nodes or processes, to tell when they are flapping.
package crashes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Window holds the crashes within the time Length. Its caller guards it by a lock.
type Window struct {
	Length time.Duration
	latest []crash
}

type crash struct {
	at       time.Time
	who, how string
}

// Add records a crash now, and reports whether there are more than limit within the window; never
// if the limit is negative.
func (w *Window) Add(who, how string, limit int) (flapping bool) {
	now := time.Now()
	w.latest = append(w.latest, crash{now, who, how})
	w.latest = slices.DeleteFunc(w.latest, func(c crash) bool { return now.Sub(c.at) > w.Length })
	return limit >= 0 && len(w.latest) > limit
}

// Len returns how many crashes there were when the last one was added.
func (w *Window) Len() int { return len(w.latest) }

// String lists who crashed, how often, and how at last.
func (w *Window) String() string {
	count, last := map[string]int{}, map[string]string{}
	for _, c := range w.latest {
		count[c.who]++
		last[c.who] = c.how
	}
	var parts []string
	for _, who := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s %s, at last: %s", who, link.Count(count[who], "time"), last[who]))
	}
	return strings.Join(parts, "; ")
}
