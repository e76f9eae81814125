package queue

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// SetQueue changes the settings of a queue: "pause", "resume", "reset", or limits set
// by "program" or "operator", which are [Limits.String]. It returns what is in effect. Where
// the queue has a new limit on bytes, SetQueue weighs its tasks until ctx ends; [Store.Weigh]
// goes on with that. The limit counts at once, for the tasks that are weighed.
func (s Store) SetQueue(ctx context.Context, queue, verb, limits string) (Settings, error) {
	done, err := s.setQueue(ctx, queue, verb, limits, "")
	return s.followUp(ctx, queue, verb, done, err)
}

// ChangeLimits changes the limits of a queue that are in effect with a function, sets them as an operator's and returns
// them. If others are in effect meanwhile, change is called again, with those.
func (s Store) ChangeLimits(ctx context.Context, queue string, change func(*Limits) error) (Settings, error) {
	for expected, limits := "?", (Limits{}); ; { // the first call learns what is in effect
		if expected != "?" {
			if err := change(&limits); err != nil {
				return Settings{}, err
			}
		}
		done, err := s.setQueue(ctx, queue, "operator", limits.String(), expected)
		if err != nil || !done.other {
			return s.followUp(ctx, queue, "limit", done, err)
		}
		limits, expected = done.Limits, done.limits
	}
}

// followUp does what has to follow a change of settings.
func (s Store) followUp(ctx context.Context, queue, verb string, done setDone, err error) (Settings, error) {
	if err == nil && done.offers != "" {
		err = s.offerGroups(ctx, queue, done.offers) // the movers go on with that after a failure
	}
	if err != nil {
		return Settings{}, fmt.Errorf("%s queue %s: %w", verb, queue, err)
	}
	if done.weighing {
		_ = s.weigh(ctx, queue) // what is in effect does not depend on it
	}
	return done.Settings, nil
}

// setDone is what came of a change.
type setDone struct {
	Settings

	weighing bool   // its tasks are to be weighed
	other    bool   // nothing was changed, as other limits are in effect
	limits   string // in effect, as Redis holds them
	offers   string // if not empty, its groups are to be offered their turns; = and their rate before
}

// setQueue changes settings. An operator's limits are changed only if those in effect are as expected, "" for any.
func (s Store) setQueue(ctx context.Context, queue, verb, limits, expected string) (done setDone, err error) {
	var text string
	reply, err := s.call(ctx, queueScript, queue, verb, limits, expected)
	if err == nil {
		err = reply.Scan(&text, &done.weighing, &done.offers, &done.other)
	}
	done.Settings = ParseSettings(text)
	_, done.limits, _ = strings.Cut(text, "|")
	done.limits = done.limits[:max(0, strings.LastIndexByte(done.limits, '|'))]
	return done, err
}

// Weigh weighs the tasks of queues with a new limit on bytes, where whoever began with it does
// not go on.
func (s Store) Weigh(ctx context.Context) error {
	if err := s.weigh(ctx, ""); err != nil {
		return fmt.Errorf("weigh the tasks of queues with a limit on bytes: %w", err)
	}
	return nil
}

const (
	// weighingPause is how long nobody has gone on with a weighing before another begins.
	weighingPause = 5 * time.Second
	// One script looks at so many tasks: first at the least number, then at twice as many
	// each time, but at fewer where they have more than weighedBytes.
	leastWeighed, mostWeighed = 16, 128
	weighedBytes              = 256 << 10
)

// weighing is how far the weighing of a queue has come.
type weighing struct {
	queue, number string
	cursor        string // "0" when all tasks have been looked at
}

// weigh weighs all tasks of a queue, or of any queue that is to be weighed.
func (s Store) weigh(ctx context.Context, queue string) error {
	w, many := weighing{queue: queue, cursor: "0"}, leastWeighed
	for {
		looked, did, err := s.weighSome(ctx, &w, many)
		if err != nil || !did || w.cursor == "0" {
			return err
		}
		if many = min(2*many, mostWeighed); looked > weighedBytes {
			many = max(many/4, 1)
		}
	}
}

// weighSome weighs some tasks, and returns how many bytes it looked at. It reports false if
// there is nothing to do.
func (s Store) weighSome(ctx context.Context, w *weighing, many int) (looked int, did bool, err error) {
	reply, err := s.call(ctx, weighScript, w.queue, w.number, weighingPause.Milliseconds(), w.cursor, many)
	if err != nil || reply.IsNil() {
		return 0, false, err
	}
	err = reply.Scan(&w.queue, &w.number, &w.cursor, &looked)
	return looked, err == nil, err
}
