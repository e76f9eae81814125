package link

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// reportPause is the least time between two log lines with the same cause.
const reportPause = time.Minute

// Observer is notified of every failed request to Redis of a part of the process, such as
// "heartbeat", that goes on trying. It is called synchronously, by many goroutines at
// once, and must not block.
type Observer interface {
	RedisFailed(part string, cause Cause, err error)
}

// Reports logs for a whole process why Redis cannot be used: at most one line a minute for
// each cause and key of a wrong type, however many loops and nodes fail with it, and one
// line when all of them work again. It is safe for concurrent use; nil reports nothing.
type Reports struct {
	// Observer, when set, is notified of every failure, logged or not. Set it before
	// the first use.
	Observer Observer

	log zerolog.Logger

	failing atomic.Bool
	mu      sync.Mutex
	parts   map[string]struct{} // parts that have failed and not worked since
	began   time.Time           // when the first of parts failed
	logged  bool                // a failure was logged since all parts worked
	away    bool                // Redis was away meanwhile: not all it did was to refuse
	causes  map[reason]*reported
	aliens  map[string]map[string]struct{} // by key, the entries there that are not ours
}

// Bounds of the aliens that [Reports] remember.
const (
	maxAlienKeys = 1000
	maxAliens    = 1000 // of one key
)

// reason is why a request failed: a cause, and the key if its type is wrong.
type reason struct {
	cause Cause
	key   string
}

func reasonOf(err error) reason {
	r := reason{cause: CauseOf(err)}
	if wrong, ok := errors.AsType[*WrongTypeError](err); ok {
		r.key = wrong.Key
	}
	return r
}

// reported has the log lines of one cause.
type reported struct {
	at       time.Time // of the last log line
	failures int       // since at
}

// NewReports returns reports to that log.
func NewReports(log zerolog.Logger) *Reports {
	return &Reports{log: log, parts: map[string]struct{}{}, causes: map[reason]*reported{}, aliens: map[string]map[string]struct{}{}}
}

// Alien counts an entry of a shared key that is not ours, and that was passed over; "" if only
// the key is known. It logs each such key once.
func (r *Reports) Alien(key, entry string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.aliens[key]
	if known == nil {
		if len(r.aliens) >= maxAlienKeys {
			return
		}
		known = map[string]struct{}{}
		r.aliens[key] = known
		r.log.Warn().Str("key", key).Str("entry", clip(entry)).
			Msg("redis: an entry of this key was written by something else: it is passed over; delete it there")
	}
	if len(known) < maxAliens {
		known[clip(entry)] = struct{}{}
	}
}

func clip(entry string) string {
	const most = 80
	return strings.ToValidUTF8(entry[:min(len(entry), most)], "�")
}

// Aliens returns, by key, how many entries were passed over because they are not ours.
func (r *Reports) Aliens() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[string]int, len(r.aliens))
	for key, entries := range r.aliens {
		counts[key] = len(entries)
	}
	return counts
}

// Failed reports that a part, such as "heartbeat", failed and goes on trying. A
// nil error is [Reports.Works].
func (r *Reports) Failed(part string, err error) {
	if r == nil {
		return
	}
	if err == nil {
		r.Works(part)
		return
	}
	if errors.Is(err, context.Canceled) {
		return // the part's own caller cancelled the request
	}
	why, now := reasonOf(err), time.Now()
	cause := why.cause
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
	r.away = r.away || cause != CauseNone && cause != CauseType
	c := r.causes[why]
	if c == nil {
		c = &reported{}
		r.causes[why] = c
	}
	c.failures++
	if !c.at.IsZero() && now.Sub(c.at) < reportPause {
		return
	}
	line := r.log.Warn().Str("part", part).Err(err)
	if cause != CauseNone {
		line = line.Str("cause", string(cause))
	}
	if c.failures > 1 {
		line = line.Int("failures", c.failures)
	}
	if text := causeTexts[cause]; text != "" {
		line.Msg("redis: " + text + "; trying again")
	} else {
		line.Msg("redis refused what the " + part + " asked; trying again")
	}
	c.at, c.failures, r.logged = now, 0, true
}

// Works reports that a part works. The call is cheap while no part fails.
func (r *Reports) Works(part string) {
	if began, away, last := r.drop(part); last {
		text := "redis is back"
		if !away {
			text = "redis takes what it had refused"
		}
		r.log.Info().Stringer("after", time.Since(began).Round(time.Millisecond)).Msg(text)
	}
}

// Ended reports that a part has ended and needs Redis no longer, whether or not Redis
// works again.
func (r *Reports) Ended(part string) { r.drop(part) }

// drop removes a failed part. last means that no failed part is left and that a failure
// was logged; began is when the first part had failed, and away says that one failed
// because Redis was away.
func (r *Reports) drop(part string) (began time.Time, away, last bool) {
	if r == nil || !r.failing.Load() {
		return began, false, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, failed := r.parts[part]; !failed {
		return began, false, false
	}
	delete(r.parts, part)
	if len(r.parts) > 0 {
		return began, false, false
	}
	r.failing.Store(false)
	last, away = r.logged, r.away
	r.logged, r.away = false, false
	return r.began, away, last
}
