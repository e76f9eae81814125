package queue

import (
	"context"
	"errors"
	"fmt"
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

var unescape = func() *strings.Replacer {
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

// groupPage is how many groups a request reads, more or less, offeredGroups how many it offers their turn: Redis needs a millisecond for these.
const (
	groupPage     = 250
	offeredGroups = 50
)

// offerGroups offers all groups of a queue their turn. before is what lua/queue.lua says of their rate.
func (s Store) offerGroups(ctx context.Context, queue, before string) error {
	return s.PageGroups(ctx, queue, func(groups []string) error {
		for some := range slices.Chunk(groups, offeredGroups) {
			args := []any{queue, "offer" + before}
			for _, g := range some {
				args = append(args, g)
			}
			if _, err := s.call(ctx, groupScript, args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// PageGroups calls page with the groups of a queue that have tasks in their lines, as they stand in
// [link.Keys.Groups], some hundreds at a time. It reads all of them before: the embedded Redis may pass over members
// while others go.
func (s Store) PageGroups(ctx context.Context, queue string, page func(groups []string) error) error {
	seen := map[string]bool{"": true} // that stands for the tasks without a group
	var all []string
	for cursor := uint64(0); ; {
		members, next, err := s.redis.ZScan(ctx, s.keys.Groups(queue), cursor, "", groupPage).Result()
		if errors.Is(err, redis.Nil) || link.IsWrongType(err) {
			return nil
		}
		if err != nil {
			return link.Explain(err)
		}
		for i := 0; i+1 < len(members); i += 2 {
			if group := members[i]; !seen[group] {
				seen[group] = true
				all = append(all, group)
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	for groups := range slices.Chunk(all, groupPage) {
		if err := page(groups); err != nil {
			return err
		}
	}
	return nil
}
