package queue

import (
	"context"
	"fmt"
	"time"
)

// SetQueue changes the settings of a queue: "pause", "resume", "reset", or limits set
// by "program" or "operator", which are [Limits.String]. It returns what is in effect. Where
// the queue has a new limit on bytes, SetQueue weighs its tasks until ctx ends; [Store.Weigh]
// goes on with that. The limit counts at once, for the tasks that are weighed.
func (s Store) SetQueue(ctx context.Context, queue, verb, limits string) (Settings, error) {
	done, err := s.setQueue(ctx, queue, verb, limits)
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
	offers   string // if not empty, its groups are to be offered their turns; = and their rate before
}

func (s Store) setQueue(ctx context.Context, queue, verb, limits string) (done setDone, err error) {
	var text string
	reply, err := s.call(ctx, queueScript, queue, verb, limits)
	if err == nil {
		err = reply.Scan(&text, &done.weighing, &done.offers)
	}
	done.Settings = ParseSettings(text)
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
