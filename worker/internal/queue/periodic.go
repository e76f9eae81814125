package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Periodic is the definition of a periodic task as Redis stores it, so that programs that
// did not register the task can read it. Every process that registered the task writes
// the definition again when it is missing.
type Periodic struct {
	Task     string          `json:"task"`
	Queue    string          `json:"queue"`
	Schedule string          `json:"schedule"`
	Payload  json.RawMessage `json:"payload"`
	CatchUp  bool            `json:"catchUp"`

	// Text is the definition as Redis has it, if it was set at run time.
	Text string `json:"-"`
}

// Ticked is the answer of [Store.Tick]: the state of the periodic task in Redis.
type Ticked struct {
	Last   time.Time // the last tick, or when the task became known
	Paused bool
	Did    bool // this call enqueued the tick's task, or recorded the tick as skipped
	// LeftOut: the tick was recorded as skipped because the task of an earlier tick is parked.
	LeftOut bool
	Now     time.Time // on Redis's clock
	Asked   time.Time // when the request was sent, on this process's clock
	// Ahead is zero, or the last tick before this call, which lay in the future: Redis's
	// clock had been ahead. The call put the last tick back to Now.
	Ahead time.Time
}

// Verbs of [Store.Tick]: what to do with a tick that is later than the last one.
const (
	TickFirst = "first" // enqueue nothing; for a new task, record now as the last tick
	TickRun   = "run"
	TickSkip  = "skip" // record the tick as the last one without enqueuing its task
)

// Tick stores the definition of a periodic task and, unless the task is paused, applies
// verb to the tick if no process has done so yet. The id of the enqueued task is name, a
// colon and the tick in Unix milliseconds.
func (s Store) Tick(ctx context.Context, name string, tick time.Time, verb string, p Periodic) (Ticked, error) {
	definition := p.Text
	if definition == "" {
		definition = p.String()
	}
	t := p.at(name, tick)
	args := append([]any{name, max(tick.UnixMilli(), 0), verb, definition, flagOf(p.Text != "")}, t.alone()...)
	asked := time.Now()
	var last, now, ahead string
	ticked := Ticked{Asked: asked}
	reply, err := s.call(ctx, tickScript, args...)
	if err == nil {
		err = reply.Scan(&last, &ticked.Paused, &ticked.Did, &now, &ahead, &ticked.LeftOut)
	}
	if link.WordOf(err) == "OVER" {
		err = ErrPeriodicOver
	}
	ticked.Last, ticked.Now, ticked.Ahead = Time(last), Time(now), Time(ahead)
	return ticked, err
}

// ErrPeriodicOver says that a definition that was set at run time does not count any more: it was changed or
// removed, or a program registers a periodic task of that name.
var ErrPeriodicOver = errors.New("the periodic task was changed or removed")

// ErrRegistered says that a running program registers a periodic task of that name.
var ErrRegistered = errors.New("a running program registers a periodic task of that name, and its definition counts")

// registeredFor is for how long a program counts as running, see lua/registering.lua.
const registeredFor = time.Minute

// String returns the definition as Redis stores it.
func (p Periodic) String() string {
	text, _ := json.Marshal(p) // it cannot fail: the payload is valid JSON
	return string(text)
}

// SetPeriodic sets a periodic task at run time, or changes it. The error is [ErrRegistered] if
// a running program registers the name.
func (s Store) SetPeriodic(ctx context.Context, name string, p Periodic) error {
	_, err := s.call(ctx, setPeriodicScript, name, p.String())
	if link.WordOf(err) != "OWNED" {
		return err
	}
	seen, _ := s.redis.HGet(ctx, s.keys.Registered(), name).Result() // if that fails, the error says less
	if last := Time(seen); !last.IsZero() {
		return fmt.Errorf("%w: it was last seen at %s; if its host is gone, the name is free at %s", ErrRegistered,
			last.Format(time.RFC3339), last.Add(registeredFor).Format(time.RFC3339))
	}
	return ErrRegistered
}

// PeriodicSet returns the periodic tasks that were set at run time, by name.
func (s Store) PeriodicSet(ctx context.Context) (map[string]Periodic, error) {
	texts, err := s.redis.HGetAll(ctx, s.keys.PeriodicSet()).Result()
	if err != nil {
		return nil, link.Explain(err)
	}
	all := make(map[string]Periodic, len(texts))
	for name, text := range texts {
		p := Periodic{Text: text}
		if json.Unmarshal([]byte(text), &p) != nil || !link.ValidName(p.Task) || !link.ValidName(p.Queue) {
			s.Reports.Alien(s.keys.PeriodicSet(), name)
			continue
		}
		all[name] = p
	}
	return all, nil
}

// PastTick is what came of a tick.
type PastTick struct {
	Tick, At time.Time // on Redis's clock: when it was due, and when it was noted
	What     string    // enqueued, missed, paused, parked or duplicate
}

// PeriodicHistory returns the last ticks of a periodic task, the oldest first, and whether it is known.
func (s Store) PeriodicHistory(ctx context.Context, name string) (ticks []PastTick, known bool, err error) {
	var text *redis.StringCmd
	var state *redis.BoolCmd
	_, err = s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		text, state = p.HGet(ctx, s.keys.PeriodicHistory(), name), p.HExists(ctx, s.keys.Periodic(), name)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, false, link.Explain(err)
	}
	for line := range strings.Lines(text.Val()) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "|"); len(f) == 3 {
			ticks = append(ticks, PastTick{Time(f[0]), Time(f[1]), f[2]})
		}
	}
	return ticks, state.Val(), nil
}

// at returns the task that a tick enqueues.
func (p Periodic) at(name string, tick time.Time) Task {
	o := Options{Chosen: true, Tick: max(tick.UnixMilli(), 0)}
	return NewKind(p.Task, p.Queue, o).whole(name+":"+strconv.FormatInt(o.Tick, 10), o.String(), p.Payload)
}

// Known is a periodic task as Redis stores it: the definition and the state.
type Known struct {
	Periodic

	Name   string
	Paused bool
	Last   time.Time // as tasks.PeriodicInfo has it
	Since  time.Time // the last tick, or when the task became known
	// Registered is when a program that registers the task last ran; zero if only programs
	// did that do not note it.
	Registered time.Time
	Runs       bool // a running program registers it
	Lately     bool // one did within the last minute
	Set        bool // it was set at run time
}

// Periodic returns all periodic tasks that some process has registered, by name.
func (s Store) Periodic(ctx context.Context) ([]Known, error) {
	var definitions, states, registered, set, programs *redis.MapStringStringCmd
	var clock *redis.TimeCmd
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		clock, programs = p.Time(ctx), p.HGetAll(ctx, s.keys.Programs())
		definitions, states = p.HGetAll(ctx, s.keys.Definitions()), p.HGetAll(ctx, s.keys.Periodic())
		registered, set = p.HGetAll(ctx, s.keys.Registered()), p.HGetAll(ctx, s.keys.PeriodicSet())
		return nil
	})
	if err != nil {
		return nil, link.Explain(err)
	}
	runs, err := s.running(ctx, registered.Val(), programs.Val(), clock.Val())
	if err != nil {
		return nil, err
	}
	all := []Known{}
	for name, text := range definitions.Val() {
		k := Known{Name: name, Registered: Time(registered.Val()[name]), Runs: runs[name], Lately: lately(registered.Val()[name], clock.Val())}
		_ = json.Unmarshal([]byte(text), &k.Periodic) // perhaps written by a later version: fields that cannot be read stay empty
		if k.Task == "" {
			s.Reports.Alien(s.keys.Definitions(), name)
			continue
		}
		_, k.Set = set.Val()[name]
		last, paused, _ := strings.Cut(states.Val()[name], "|")
		k.Since, k.Paused = Time(last), paused != ""
		if !strings.HasPrefix(last, "0") { // a leading 0 means that there was no tick yet
			k.Last = k.Since
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Known) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// PausePeriodic pauses a periodic task with the mark "1", resumes it with "", or
// deletes it with "remove". It returns false if the task is not known.
func (s Store) PausePeriodic(ctx context.Context, name, mark string) (bool, error) {
	var known bool
	reply, err := s.call(ctx, pauseScript, name, mark)
	if err == nil {
		err = reply.Scan(&known)
	}
	if err == nil && mark == "remove" {
		err = link.Explain(s.redis.HDel(ctx, s.keys.Registered(), name).Err())
	}
	return known, err
}

// programsKept is for how long Redis knows the programs that register periodic tasks, once the last has ended.
const programsKept = 10 * time.Minute

// NoteRegistered notes that the program, which registers these periodic tasks, runs at now, a
// time on Redis's clock. It listens to [link.Keys.Program]; without an id it counts as running for a minute.
func (s Store) NoteRegistered(ctx context.Context, program string, names []string, now time.Time) error {
	values := make([]any, 0, 2*len(names))
	for _, name := range names {
		values = append(values, name, now.UnixMilli())
	}
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, s.keys.Registered(), values...)
		if program != "" {
			p.HSet(ctx, s.keys.Programs(), program, strconv.FormatInt(now.UnixMilli(), 10)+"|"+strings.Join(names, " "))
			p.PExpire(ctx, s.keys.Programs(), programsKept)
		}
		return nil
	})
	return link.Explain(err)
}

// ForgetPrograms removes the programs that have not said for a while that they run, as they crashed.
func (s Store) ForgetPrograms(ctx context.Context, now time.Time) error {
	programs, err := s.redis.HGetAll(ctx, s.keys.Programs()).Result()
	if err != nil {
		return link.Explain(err)
	}
	var gone []string
	for id, text := range programs {
		if seen, _, _ := strings.Cut(text, "|"); now.Sub(Time(seen)).Abs() > programsKept {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return link.Explain(s.redis.HDel(ctx, s.keys.Programs(), gone...).Err())
}

// lately reports whether a time on Redis is no more than a minute away.
func lately(seen string, now time.Time) bool {
	at := Time(seen)
	return !at.IsZero() && now.Sub(at).Abs() <= registeredFor
}

// running returns the periodic tasks that running programs register: see lua/registering.lua.
func (s Store) running(ctx context.Context, registered, programs map[string]string, now time.Time) (map[string]bool, error) {
	names, channels := map[string][]string{}, []string(nil)
	for id, text := range programs {
		if seen, of, _ := strings.Cut(text, "|"); lately(seen, now) {
			names[s.keys.Program(id)] = strings.Fields(of)
			channels = append(channels, s.keys.Program(id))
		}
	}
	runs := map[string]bool{}
	for name, seen := range registered {
		runs[name] = lately(seen, now)
	}
	if len(channels) == 0 {
		return runs, nil
	}
	listeners, err := s.redis.PubSubNumSub(ctx, channels...).Result()
	if err != nil {
		return nil, link.Explain(err)
	}
	for _, alive := range []bool{false, true} { // those that live have the last word
		for channel, of := range names {
			for _, name := range of {
				if alive == (listeners[channel] > 0) {
					runs[name] = alive && lately(registered[name], now)
				}
			}
		}
	}
	return runs, nil
}
