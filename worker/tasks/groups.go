package tasks

import (
	"context"
	"fmt"
	"slices"
	"strconv"

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
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		active, held, halted = p.HGetAll(ctx, i.keys.Active()), p.HGetAll(ctx, i.keys.Held()), p.SMembers(ctx, i.keys.Halted())
		return nil
	})
	if err != nil {
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
	for party := range held.Val() {
		change(party, func(g *Group) { g.Held = true })
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
	return i.store.PauseGroup(ctx, name, group, paused)
}

// pagePending calls page with the pending tasks of a queue, those of its groups after the others.
func (i *Inspector) pagePending(ctx context.Context, name, only string, page func(entries) error) error {
	pages := func(lines []string) error {
		for _, line := range lines {
			if err := i.pageList(ctx, i.keys.Queue(line), page); err != nil {
				return err
			}
		}
		return nil
	}
	if only != "" {
		return pages(queue.GroupLines(name, queue.EscapeGroup(only)))
	}
	if err := pages(queue.Lines(name)); err != nil {
		return err
	}
	return i.store.PageGroups(ctx, name, func(escaped []string) error {
		for _, group := range escaped {
			if err := pages(queue.GroupLines(name, group)); err != nil {
				return err
			}
		}
		return nil
	})
}
