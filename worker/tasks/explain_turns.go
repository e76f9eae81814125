package tasks

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// explainTurns says which rate, rest or bound of its group keeps a pending task from being claimed, and
// until when.
func (i *Inspector) explainTurns(ctx context.Context, e *Explanation, l Limits, now time.Time) error {
	if err := i.explainRest(ctx, e, "the queue "+e.Queue, e.Queue, l.Rate, now); err != nil || e.Group == "" {
		return err
	}
	party, group := queue.Party(e.Queue, e.Group), "its group "+e.Group
	if err := i.explainRest(ctx, e, group, party, l.GroupRate, now); err != nil {
		return err
	}
	var halted *redis.BoolCmd
	var active *redis.StringCmd
	var held *redis.SliceCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		halted = p.SIsMember(ctx, i.keys.Halted(), party)
		active, held = p.HGet(ctx, i.keys.Active(), party), p.HMGet(ctx, i.keys.Held(), party, party+queue.HeldMark)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	if halted.Val() {
		e.sayf("%s is paused", group)
	}
	if runs, _ := strconv.Atoi(active.Val()); l.PerGroup > 0 && runs >= l.PerGroup {
		e.sayf("%s runs at most %s at a time, and %s", group, link.Count(l.PerGroup, "task"), link.Count(runs, "runs", "run"))
	}
	if l.Strict && held.Val()[0] != nil {
		say := func(id string) { e.sayf("%s is strict, and %s of it waits for its next run", group, id) }
		if err := i.explainHold(ctx, e, party, say); err != nil {
			return err
		}
	}
	if held.Val()[1] == nil {
		return nil
	}
	return i.explainHold(ctx, e, party+queue.HeldMark, func(id string) {
		e.sayf("%s waits for %s, which has to run alone after crashes of its nodes", group, id)
	})
}

// explainHold says which other task holds a group.
func (i *Inspector) explainHold(ctx context.Context, e *Explanation, holds string, say func(id string)) error {
	first := ""
	for cursor := uint64(0); ; { // those of all queues, so not at once
		fields, next, err := i.redis.HScan(ctx, i.keys.Holders(), cursor, "", listPage).Result()
		if err != nil {
			return err
		}
		for field := range slices.Chunk(fields, 2) {
			if id := field[0]; field[1] == holds && id != e.ID && (first == "" || id < first) {
				first = id
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	if first != "" {
		say(first)
	}
	return nil
}

// explainRest says until when a party rests, or waits for the next token of its rate.
func (i *Inspector) explainRest(ctx context.Context, e *Explanation, what, party string, r Rate, now time.Time) error {
	var rests, full *redis.FloatCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		rests, full = p.ZScore(ctx, i.keys.Resting(), party), p.ZScore(ctx, i.keys.Rates(), party)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	if until := time.UnixMilli(int64(rests.Val())); until.After(now) {
		e.sayf("%s rests until %s, as a handler asked with Throttle", what, until.Format(time.RFC3339Nano))
	}
	if r.Tasks == 0 {
		return nil
	}
	interval := float64(r.Per.Microseconds()) / float64(r.Tasks)
	next := time.UnixMicro(int64(full.Val() + float64(1-r.stored().Burst)*interval))
	if next.After(now) {
		e.sayf("%s has a rate of %s: the next task may begin at %s", what, r, next.Format(time.RFC3339Nano))
	}
	return nil
}
