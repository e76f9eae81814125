package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// groupMark stands between a queue and a group in the name of a line; names of queues cannot hold
// it.
const groupMark = "/"

// HeldMark marks the line of a group that has the tasks which hold it, see lua/turns.lua.
const HeldMark = "!"

// SharedMark ends the field of [link.Keys.Active] that has how many tasks of a queue in hand count for nothing in its
// limit, as another of their batch counts, see lua/sharing.lua.
const SharedMark = "|shared"

// reserved are the bytes of a group that a line or a record cannot hold as they are.
const reserved = "|^~!%\n"

// EscapeGroup returns a group as it stands in the names of lines.
func EscapeGroup(group string) string {
	if !strings.ContainsAny(group, reserved) {
		return group
	}
	var b strings.Builder
	for _, c := range []byte(group) {
		if strings.IndexByte(reserved, c) >= 0 {
			_, _ = fmt.Fprintf(&b, "%%%02x", c)
		} else {
			_ = b.WriteByte(c)
		}
	}
	return b.String()
}

// UnescapeGroup reverses [EscapeGroup].
func UnescapeGroup(escaped string) string {
	if !strings.Contains(escaped, "%") {
		return escaped
	}
	return unescape.Replace(escaped)
}

var unescape = func() *strings.Replacer { //nolint:gochecknoglobals // it never changes
	var pairs []string
	for _, c := range reserved {
		pairs = append(pairs, EscapeGroup(string(c)), string(c))
	}
	return strings.NewReplacer(pairs...)
}()

// Line returns the name of the line of a queue or, unless group is empty, of one of its groups. mark
// is that of a priority.
func Line(queue, group, mark string) string {
	if group != "" {
		queue += groupMark + EscapeGroup(group)
	}
	return queue + mark
}

// Party returns the name of a group in the keys that lua/turns.lua writes: that of its lines,
// without a mark. That of a queue is its own.
func Party(queue, group string) string { return Line(queue, group, "") }

// GroupLines returns the lines of a group, as it stands in [link.Keys.Groups], the first one served
// first.
func GroupLines(queue, escaped string) []string {
	party := queue + groupMark + escaped
	return append([]string{party + HeldMark}, Lines(party)...)
}

// groupOf returns the group of a line, or "".
func groupOf(line string) string {
	_, group, has := strings.Cut(line, groupMark)
	if !has {
		return ""
	}
	return UnescapeGroup(strings.TrimRight(group, HighMark+LowMark+HeldMark))
}

// CutParty reverses [Party].
func CutParty(party string) (queue, group string) { return queueOf(party), groupOf(party) }

// PauseGroup pauses a group or lets its tasks go again. It reports whether the group has
// tasks that wait in their lines or run.
func (s Store) PauseGroup(ctx context.Context, queue, group string, paused bool) (used bool, err error) {
	verb := "resume"
	if paused {
		verb = "pause"
	}
	reply, err := s.call(ctx, groupScript, queue, verb, EscapeGroup(group))
	if err == nil {
		err = reply.Scan(&used)
	}
	if err != nil {
		return false, fmt.Errorf("%s group %q of queue %s: %w", verb, group, queue, err)
	}
	return used, nil
}

// groupPage is how many groups a request reads, more or less, offeredGroups how many it offers their turn:
// Redis needs a millisecond for these.
const (
	groupPage     = 250
	offeredGroups = 50
)

// offerGroups offers all groups of a queue their turn, after a change of its limits. before is what lua/queue.lua says of their
// rate: what they have spent is counted at the new one, also of groups without tasks.
func (s Store) offerGroups(ctx context.Context, queue, before string) error {
	all := map[string]bool{}
	if err := s.PageGroups(ctx, queue, func(groups []string) error {
		for _, g := range groups {
			all[g] = true
		}
		return nil
	}); err != nil {
		return err
	}
	spent, err := s.scan(ctx, s.redis.ZScan, s.keys.Rates())
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(spent); i += 2 {
		if of, g, grouped := strings.Cut(spent[i], groupMark); grouped && of == queue {
			all[g] = true
		}
	}
	for some := range slices.Chunk(slices.Collect(maps.Keys(all)), offeredGroups) {
		args := []any{queue, "offer" + before}
		for _, g := range some {
			args = append(args, g)
		}
		if _, err := s.call(ctx, groupScript, args...); err != nil {
			return err
		}
	}
	return nil
}

// forgetGroups forgets what is noted of groups of a queue that has no tasks any more: which are paused, or rest, and
// their tokens.
func (s Store) forgetGroups(ctx context.Context, queue string) error {
	of := func(members []string) (some []any) {
		for _, party := range members {
			if queueOf(party) == queue {
				some = append(some, party)
			}
		}
		return some
	}
	halted, err := s.scan(ctx, s.redis.SScan, s.keys.Halted())
	for some := range slices.Chunk(of(halted), groupPage) {
		err = errors.Join(err, s.redis.SRem(ctx, s.keys.Halted(), some...).Err())
	}
	for _, key := range []string{s.keys.Resting(), s.keys.Rates(), s.keys.Refills()} {
		times, failed := s.scan(ctx, s.redis.ZScan, key)
		err = errors.Join(err, failed)
		for some := range slices.Chunk(of(times), groupPage) {
			err = errors.Join(err, s.redis.ZRem(ctx, key, some...).Err())
		}
	}
	return link.Explain(err)
}

// scan returns all members of a set, or of a sorted set with their scores behind them: the embedded Redis may pass
// over some while others go.
func (s Store) scan(
	ctx context.Context, command func(ctx context.Context, key string, cursor uint64, match string, count int64) *redis.ScanCmd, key string,
) (all []string, err error) {
	for cursor := uint64(0); ; {
		members, next, err := command(ctx, key, cursor, "", groupPage).Result()
		if errors.Is(err, redis.Nil) || link.IsWrongType(err) {
			return nil, nil
		}
		if err != nil {
			return nil, link.Explain(err)
		}
		all = append(all, members...)
		if cursor = next; cursor == 0 {
			return all, nil
		}
	}
}

// PageGroups calls page with the groups of a queue that have tasks in their lines, as they stand in
// [link.Keys.Groups], some hundreds at a time.
func (s Store) PageGroups(ctx context.Context, queue string, page func(groups []string) error) error {
	seen := map[string]bool{"": true} // that stands for the tasks without a group
	var all []string
	members, err := s.scan(ctx, s.redis.ZScan, s.keys.Groups(queue))
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(members); i += 2 {
		if group := members[i]; !seen[group] {
			seen[group] = true
			all = append(all, group)
		}
	}
	for groups := range slices.Chunk(all, groupPage) {
		if err := page(groups); err != nil {
			return err
		}
	}
	return nil
}
