package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when a periodic task is due. Such a time is called a tick. The ticks depend
// only on the schedule, so every process of the cluster computes the same ticks without
// coordination. Make a schedule with [Every] or [Cron].
type Schedule struct {
	text string
	next func(after time.Time) time.Time // the first tick later than after; zero: none
	err  error
}

// String returns the schedule as a text: "every 10m0s" or "0 6 * * * Europe/Berlin".
func (s Schedule) String() string { return s.text }

// MarshalText implements encoding.TextMarshaler: see [Schedule.String].
func (s Schedule) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It never fails: as with [Every]
// and [Cron], the error of an invalid schedule is reported when the schedule is
// registered. A host that does not know the time zone can still show the schedule.
func (s *Schedule) UnmarshalText(text []byte) error {
	*s = parseSchedule(string(text))
	s.text = string(text)
	return nil
}

// parseSchedule parses the text of [Schedule.String].
func parseSchedule(text string) Schedule {
	if interval, ok := strings.CutPrefix(text, "every "); ok {
		d, err := time.ParseDuration(interval)
		if err != nil {
			return Schedule{err: fmt.Errorf("schedule %q: %w", text, err)}
		}
		return Every(d)
	}
	at := strings.LastIndex(text, " ")
	if at < 0 {
		return Schedule{err: fmt.Errorf("schedule %q: use \"every 10m\", or a cron expression and a time zone", text)}
	}
	zone, err := time.LoadLocation(text[at+1:])
	if err != nil {
		return Schedule{err: fmt.Errorf("schedule %q: %w", text, err)}
	}
	return Cron(text[:at], zone)
}

// Err returns the error of an invalid schedule, or nil.
func (s Schedule) Err() error {
	if s.err == nil && s.next == nil {
		return errors.New("no schedule: use tasks.Every or tasks.Cron")
	}
	return s.err
}

// Every returns a schedule with a tick at every multiple of d since 1970-01-01 00:00 UTC:
// Every(time.Hour) ticks on the hour. d must be at least a second, in whole milliseconds.
func Every(d time.Duration) Schedule {
	s := Schedule{text: "every " + d.String()}
	if d < time.Second || d%time.Millisecond != 0 {
		s.err = fmt.Errorf("schedule every %s: use at least 1s, in whole milliseconds", d)
		return s
	}
	ms := d.Milliseconds()
	s.next = func(after time.Time) time.Time {
		at := after.UnixMilli()
		if at < 0 {
			return time.UnixMilli(0)
		}
		return time.UnixMilli(at - at%ms + ms)
	}
	return s
}

// Cron returns a schedule with a tick whenever the clock of zone (nil: UTC) matches a cron
// expression (minute, hour, day of the month, number of the month, day of the
// week), or @hourly, @daily, @weekly, @monthly, @yearly.
//
// Where daylight saving skips a local time, a tick at that time is left out that
// day; where it repeats one, a tick in the repeated hour comes once for each
// (both for "* * * * *", as one would expect of every minute). A job that must
// run every day is best kept out of the hours in which clocks are changed.
func Cron(expression string, zone *time.Location) Schedule {
	if zone == nil {
		zone = time.UTC
	}
	s := Schedule{text: expression + " " + zone.String()}
	if strings.Contains(expression, "TZ=") || strings.HasPrefix(expression, "@every") {
		s.err = fmt.Errorf("schedule %q: give the zone as a time.Location and an interval with Every", expression)
		return s
	}
	parsed, err := cron.ParseStandard(expression)
	if err != nil {
		s.err = fmt.Errorf("schedule %q: %w: use five fields such as \"0 6 * * *\", or @daily", expression, err)
		return s
	}
	next := func(after time.Time) time.Time { return zonedCron(parsed, zone, after) }
	// Package cron looks at five years. Every day that ever comes does in those from 2024, 29 February among them.
	if next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		s.err = fmt.Errorf("schedule %q: it never comes: no year has such a day", expression)
		return s
	}
	s.next = next
	return s
}

// Next returns the first tick later than after, or the zero time when there is none.
func (s Schedule) Next(after time.Time) time.Time {
	if s.next == nil {
		return time.Time{}
	}
	return s.next(after)
}

// Last returns the latest tick that is later than after and not later than now, or
// the zero time when there is none.
func (s Schedule) Last(after, now time.Time) time.Time {
	t := s.Next(after)
	if t.IsZero() || t.After(now) {
		return time.Time{}
	}
	// Of many missed ticks only the last counts: look for it from close by.
	for back := time.Minute; now.Add(-back).After(t); back *= 4 {
		if near := s.Next(now.Add(-back)); !near.IsZero() && !near.After(now) {
			t = near
			break
		}
	}
	for {
		following := s.Next(t)
		if following.IsZero() || following.After(now) {
			return t
		}
		t = following
	}
}

// Periodic is a task that the cluster enqueues by a schedule.
type Periodic struct {
	// Name of the periodic task; default that of the task.
	Name string
	// Task is the name of the task to enqueue.
	Task string
	// Schedule says when the task is enqueued.
	Schedule Schedule
	// Payload of each run, encoded as JSON. Default null.
	Payload any
	// CatchUp enqueues the last tick that was missed while no process ran. Without
	// it, ticks that are more than a minute late are left out.
	CatchUp bool
}

// maxPeriodic is the maximal length of a periodic task's name in bytes. It leaves room for
// a colon and milliseconds in an id of 200 bytes.
const maxPeriodic = 180

func (p *Periodic) complete() error {
	if p.Name == "" {
		p.Name = p.Task
	}
	errs := []error{checkName("periodic task", p.Name), checkName("task", p.Task), p.Schedule.Err()}
	if len(p.Name) > maxPeriodic {
		errs = append(errs, fmt.Errorf("a name of %d bytes: use at most %d, the ids of its runs are longer", len(p.Name), maxPeriodic))
	}
	payload, err := json.Marshal(p.Payload)
	if err == nil {
		p.Payload, err = encode(json.RawMessage(payload)) // which knows the bound
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("periodic task %s: %w", p.Name, err)
	}
	return nil
}

// Periodic returns the registered periodic tasks, with default names filled in and payloads
// encoded.
func (r *Registry) Periodic() []Periodic { return slices.Clone(r.periodic) }

// Unhandled returns the periodic tasks whose tasks the app does not handle: another program
// has to.
func (r *Registry) Unhandled() []Periodic {
	return slices.DeleteFunc(r.Periodic(), func(p Periodic) bool { return r.tasks[p.Task].handle != nil })
}

// RegisterPeriodic adds a periodic task. [Registry.Err] returns the error of an invalid one.
func (r *Registry) RegisterPeriodic(p Periodic) {
	if err := p.complete(); err != nil {
		r.errs = append(r.errs, err)
		return
	}
	for _, other := range r.periodic {
		if other.Name == p.Name {
			r.errs = append(r.errs, fmt.Errorf("periodic task %s: registered twice", p.Name))
			return
		}
	}
	r.periodic = append(r.periodic, p)
}
