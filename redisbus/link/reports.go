package link

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// reportPause is how long a cause is not told again.
const reportPause = time.Minute

// Observer hears of every failure of a part of a process, such as "heartbeat", that
// needs Redis and goes on trying. It is called synchronously, by many goroutines at
// once, and must not block.
type Observer interface {
	RedisFailed(part string, cause Cause, err error)
}

// Reports tells the log of a process why Redis cannot be used: one line for each
// cause, however many loops and nodes meet it, at most once a minute, and one
// line when all of them work again. It is safe for concurrent use.
type Reports struct {
	// Observer, when set, hears of each failure, also of those that are not logged
	// again. It is set before the first use.
	Observer Observer

	log zerolog.Logger

	failing atomic.Bool
	mu      sync.Mutex
	parts   map[string]struct{} // that failed and have not worked since
	began   time.Time           // when the first of them failed
	told    bool                // a line was written since all worked
	causes  map[Cause]*reported
}

type reported struct {
	at     time.Time
	unsaid int // failures since
}

// NewReports returns reports to that log.
func NewReports(log zerolog.Logger) *Reports {
	return &Reports{log: log, parts: map[string]struct{}{}, causes: map[Cause]*reported{}}
}

// Failed tells that a part, such as "heartbeat", failed and goes on trying. A
// nil error is [Reports.Works].
func (r *Reports) Failed(part string, err error) {
	if err == nil {
		r.Works(part)
		return
	}
	if errors.Is(err, context.Canceled) {
		return // whoever ended it knows
	}
	cause, now := CauseOf(err), time.Now()
	if r.Observer != nil {
		r.Observer.RedisFailed(part, cause, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.parts) == 0 {
		r.began = now
	}
	r.parts[part] = struct{}{}
	r.failing.Store(true)
	c := r.causes[cause]
	if c == nil {
		c = &reported{}
		r.causes[cause] = c
	}
	c.unsaid++
	if !c.at.IsZero() && now.Sub(c.at) < reportPause {
		return
	}
	line := r.log.Warn().Str("part", part).Err(err)
	if cause != CauseNone {
		line = line.Str("cause", string(cause))
	}
	if c.unsaid > 1 {
		line = line.Int("failures", c.unsaid)
	}
	if why := sentences[cause]; why != "" {
		line.Msg("redis: " + why + "; trying again")
	} else {
		line.Msg("redis refused what the " + part + " asked; trying again")
	}
	c.at, c.unsaid, r.told = now, 0, true
}

// Works tells that a part works. It costs nothing while nothing fails.
func (r *Reports) Works(part string) {
	if began, last := r.drop(part); last {
		r.log.Info().Stringer("after", time.Since(began).Round(time.Millisecond)).Msg("redis is back")
	}
}

// Ended tells that a part has ended: it does not wait for Redis any more, which may
// be away still.
func (r *Reports) Ended(part string) { r.drop(part) }

// drop takes a part from those that fail. It reports whether it was the last, after
// a failure that was told, and since when there had been any.
func (r *Reports) drop(part string) (began time.Time, last bool) {
	if !r.failing.Load() {
		return began, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, failed := r.parts[part]; !failed {
		return began, false
	}
	delete(r.parts, part)
	if len(r.parts) > 0 {
		return began, false
	}
	r.failing.Store(false)
	last, r.told = r.told, false
	return r.began, last
}
