package queue

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Periodic is a periodic task as Redis keeps it, for programs that did not register
// it. Every process that did writes it again when it is not there.
type Periodic struct {
	Task     string          `json:"task"`
	Queue    string          `json:"queue"`
	Schedule string          `json:"schedule"`
	Payload  json.RawMessage `json:"payload"`
	CatchUp  bool            `json:"catchUp"`
}

// Ticked is a periodic task as Redis knows it.
type Ticked struct {
	Last   time.Time // tick, or since when the task is known
	Paused bool
	Did    bool      // this call enqueued the tick, or noted that it is left out
	Now    time.Time // on Redis's clock
	Asked  time.Time // on this process's, when it was sent
}

// What [Store.Tick] does with a tick that is later than the last.
const (
	TickFirst = "first" // nothing: it only asks
	TickRun   = "run"
	TickSkip  = "skip" // the tick counts as the last, and is not enqueued
)

// Tick makes a periodic task known and, unless it is paused, enqueues the task of a
// tick that is due, if nobody has yet: its id is the name and the tick.
func (s Store) Tick(ctx context.Context, name string, tick time.Time, verb string, p Periodic) (Ticked, error) {
	definition, _ := json.Marshal(p) // it cannot fail: the payload is valid JSON
	t := p.at(name, tick)
	args := append([]any{name, max(tick.UnixMilli(), 0), verb, definition}, t.alone()...)
	asked := time.Now()
	var last, now string
	ticked := Ticked{Asked: asked}
	reply, err := s.call(ctx, tickScript, args...)
	if err == nil {
		err = reply.Scan(&last, &ticked.Paused, &ticked.Did, &now)
	}
	ticked.Last, ticked.Now = Time(last), Time(now)
	return ticked, err
}

// at returns the task of a tick.
func (p Periodic) at(name string, tick time.Time) Task {
	o := Options{Chosen: true}
	return NewKind(p.Task, p.Queue, o).Task(name+":"+strconv.FormatInt(max(tick.UnixMilli(), 0), 10), o.String(), p.Payload)
}

// Known is what Redis knows of a periodic task.
type Known struct {
	Periodic

	Name   string
	Paused bool
	Last   time.Time // tick, also one that was left out; zero until one has run
	Since  time.Time // the last tick, or when the task became known
}

// Periodic returns all periodic tasks that some process has registered, by name.
func (s Store) Periodic(ctx context.Context) ([]Known, error) {
	var definitions, states *redis.MapStringStringCmd
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		definitions, states = p.HGetAll(ctx, s.keys.Definitions()), p.HGetAll(ctx, s.keys.Periodic())
		return nil
	})
	if err != nil {
		return nil, link.Explain(err)
	}
	all := []Known{}
	for name, text := range definitions.Val() {
		k := Known{Name: name}
		_ = json.Unmarshal([]byte(text), &k.Periodic) // of a later version perhaps: what cannot be read stays empty
		last, paused, _ := strings.Cut(states.Val()[name], "|")
		k.Since, k.Paused = Time(last), paused != ""
		if !strings.HasPrefix(last, "0") { // that says that no tick has run
			k.Last = k.Since
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Known) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// PausePeriodic pauses a periodic task with the mark "1", resumes it with "", or
// forgets it with "remove". It returns false if it is not known.
func (s Store) PausePeriodic(ctx context.Context, name, mark string) (bool, error) {
	var known bool
	reply, err := s.call(ctx, pauseScript, name, mark)
	if err == nil {
		err = reply.Scan(&known)
	}
	return known, err
}
