package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Group describes one group of a queue.
type Group struct {
	Queue   string `json:"queue"`
	Group   string `json:"group"`
	Pending int64  `json:"pending"` // tasks in its lines
	Active  int64  `json:"active"`
	Paused  bool   `json:"paused,omitempty"`
	Held    bool   `json:"held,omitempty"` // a task that waits for its next run holds it, see [Limits]
	// RestsUntil is until when no task of the group begins, as a handler asked with [Throttle]; zero if it does not rest.
	RestsUntil time.Time `json:"restsUntilAt,omitzero"`
}

// Groups returns the groups of a queue that have tasks which wait in their lines, those with most of
// them first, then groups of which tasks run; at most limit groups, 0 for all. It reads all of them: some
// hundred thousand in a second.
func (i *Inspector) Groups(ctx context.Context, name string, limit int) ([]Group, error) {
	if err := checkName("queue", name); err != nil {
		return nil, err
	}
	found := map[string]Group{}
	err := i.store.PageGroups(ctx, name, func(escaped []string) error {
		counts := make([][]*redis.IntCmd, len(escaped))
		_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n, group := range escaped {
				for _, line := range queue.GroupLines(name, group) {
					counts[n] = append(counts[n], p.LLen(ctx, i.keys.Queue(line)))
				}
			}
			return nil
		})
		if err != nil && !link.IsWrongType(err) {
			return link.Explain(err)
		}
		for n, group := range escaped {
			g := Group{Queue: name, Group: queue.UnescapeGroup(group)}
			for _, count := range counts[n] {
				g.Pending += count.Val()
			}
			found[g.Group] = g
		}
		return nil
	})
	if err == nil {
		err = i.completeGroups(ctx, name, found)
	}
	if err != nil {
		return nil, fmt.Errorf("groups of queue %s: %w", name, err)
	}
	all := make([]Group, 0, len(found))
	for _, g := range found {
		all = append(all, g)
	}
	slices.SortFunc(all, compareGroups)
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, nil
}

func compareGroups(a, b Group) int {
	switch {
	case a.Pending != b.Pending:
		return int(b.Pending - a.Pending)
	case a.Active != b.Active:
		return int(b.Active - a.Active)
	case a.Group < b.Group:
		return -1
	default:
		return 1
	}
}

// completeGroups adds what is noted of groups elsewhere, and those of which only that is known.
func (i *Inspector) completeGroups(ctx context.Context, name string, found map[string]Group) error {
	var active, held *redis.MapStringStringCmd
	var halted *redis.StringSliceCmd
	var resting *redis.ZSliceCmd
	var settings *redis.StringCmd
	var now *redis.TimeCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		active, held, halted = p.HGetAll(ctx, i.keys.Active()), p.HGetAll(ctx, i.keys.Held()), p.SMembers(ctx, i.keys.Halted())
		resting, settings, now = p.ZRangeWithScores(ctx, i.keys.Resting(), 0, -1), p.HGet(ctx, i.keys.Settings(), name), p.Time(ctx)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return link.Explain(err)
	}
	change := func(party string, to func(*Group)) {
		if of, group := queue.CutParty(party); of == name && group != "" {
			g := found[group]
			g.Queue, g.Group = name, group
			to(&g)
			found[group] = g
		}
	}
	for party, n := range active.Val() {
		change(party, func(g *Group) { g.Active, _ = strconv.ParseInt(n, 10, 64) })
	}
	if queue.ParseSettings(settings.Val()).Limits.Strict {
		for party := range held.Val() {
			change(party, func(g *Group) { g.Held = true })
		}
	}
	for _, z := range resting.Val() {
		party, _ := z.Member.(string)
		if until := queue.TimeOf(int64(z.Score)); until.After(now.Val()) {
			change(party, func(g *Group) { g.RestsUntil = until })
		}
	}
	for _, party := range halted.Val() {
		change(party, func(g *Group) { g.Paused = true })
	}
	return nil
}

// PauseGroup stops nodes from claiming a group's tasks, or, with paused false, lets them claim
// again. Tasks that nodes have claimed go on, and new ones are accepted. It reports
// whether the group has tasks that run, or wait and are due: the name of one that has none may be
// misspelt.
func (i *Inspector) PauseGroup(ctx context.Context, name, group string, paused bool) (used bool, err error) {
	if err := checkName("queue", name); err != nil {
		return false, err
	}
	if group == "" || len(group) > maxGroup || !validText(group) {
		return false, fmt.Errorf("%w: group %.220q: use 1 to %d bytes of UTF-8", ErrInvalid, group, maxGroup)
	}
	used, err = i.store.PauseGroup(ctx, name, group, paused)
	if err == nil {
		kind := ChangeResume
		if paused {
			kind = ChangePause
		}
		i.changed(ctx, Change{Kind: kind, Queue: name, Text: "group " + group})
	}
	return used, err
}

// pagePending calls page with the pending tasks of a queue, those of its groups after the others.
func (i *Inspector) pagePending(ctx context.Context, name, only string, page func(entries) error) error {
	if only != "" {
		return i.pageLines(ctx, queue.GroupLines(name, queue.EscapeGroup(only)), page)
	}
	if err := i.pageLines(ctx, queue.Lines(name), page); err != nil {
		return err
	}
	return i.store.PageGroups(ctx, name, func(escaped []string) error {
		var lines []string
		for _, group := range escaped {
			lines = append(lines, queue.GroupLines(name, group)...)
		}
		return i.pageLines(ctx, lines, page)
	})
}

// pageLines reads some lines, one after the other: of all of them the first tasks at once, as most lines of groups have few.
func (i *Inspector) pageLines(ctx context.Context, lines []string, page func(entries) error) error {
	const few = 10
	first := make([]*redis.StringSliceCmd, len(lines))
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for at, line := range lines {
			first[at] = p.LRange(ctx, i.keys.Queue(line), -few, -1)
		}
		return nil
	})
	if err != nil && !link.IsWrongType(err) { // a key of another type holds no tasks
		return err
	}
	var ids []string
	flush := func() error {
		some := ids
		if ids = nil; len(some) == 0 {
			return nil
		}
		return page(entries{ids: some})
	}
	for at, line := range lines {
		some := first[at].Val()
		slices.Reverse(some)
		if ids = append(ids, some...); len(some) < few && len(ids) < listPage {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if len(some) == few {
			if err := i.pageList(ctx, i.keys.Queue(line), few, page); err != nil {
				return err
			}
		}
	}
	return flush()
}

// completeQueues adds what is noted of queues that rest, and to first the first tasks of some groups of each queue.
func (i *Inspector) completeQueues(ctx context.Context, s snapshot, first heads) error {
	if len(s.queues) == 0 {
		return nil
	}
	const groups = 10 // of each queue
	names := make([]string, len(s.queues))
	next := make([]*redis.StringSliceCmd, len(s.queues))
	var rests *redis.FloatSliceCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for at, q := range s.queues {
			if names[at] = q.Name; q.Grouped > 0 {
				next[at] = p.ZRange(ctx, i.keys.Groups(q.Name), 0, groups-1)
			}
		}
		rests = p.ZMScore(ctx, i.keys.Resting(), names...)
		return nil
	})
	if err != nil && !link.IsWrongType(err) {
		return err
	}
	for at := range s.queues {
		q := &s.queues[at]
		if scores := rests.Val(); at < len(scores) && scores[at] > 0 {
			if until := queue.TimeOf(int64(scores[at])); until.After(s.now) {
				q.RestsUntil = until
			}
		}
	}
	return i.readHeads(ctx, s, next, first)
}

// readHeads adds to first the first tasks of groups, which are in the order of the queues.
func (i *Inspector) readHeads(ctx context.Context, s snapshot, groups []*redis.StringSliceCmd, first heads) error {
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for at, q := range s.queues {
			if groups[at] == nil {
				continue
			}
			for _, group := range groups[at].Val() {
				for _, line := range queue.GroupLines(q.Name, group) {
					if group != "" {
						first[q.Name] = append(first[q.Name], p.LIndex(ctx, i.keys.Queue(line), -1))
					}
				}
			}
		}
		return nil
	})
	if err != nil && !link.IsWrongType(err) && !errors.Is(err, redis.Nil) {
		return err
	}
	return nil
}
