package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus"
)

// stream is one incarnation's numbered claims and commits. Each kind has at
// most one request on its way, and each is repeated under its number until its
// answer is known or ctx ends.
type stream struct {
	redis       redis.UniversalClient
	keys        keyspace
	incarnation string
	queues      []string
	handles     func(task string) bool
	ending      *redisbus.Script // lua/commit.lua

	claims, commits uint64
	idle            bool     // Redis knows this node as idle
	parked          []string // names of parked tasks that this node handles, as of the last claim
}

// claimed is a task that this incarnation has in hand.
type claimed struct {
	id        string
	tries     tries
	record    record
	malformed error
}

// claim returns up to want tasks. broken are keys that should be queues and are
// not. After fewer than want the node counts as idle and is woken by the next task.
func (s *stream) claim(ctx context.Context, want int) (got []claimed, broken []string, err error) {
	s.claims++
	k := s.keys
	keys := []string{k.Leases(), k.Stream(s.incarnation), k.Owned(s.incarnation), k.Tasks(), k.Tries(), k.ParkedNames()}
	wasIdle := ""
	if s.idle {
		wasIdle = "1"
	}
	args := []any{s.incarnation, s.claims, want, wasIdle, k.IdlePrefix(), k.WakePrefix()}
	for _, name := range s.parked {
		keys = append(keys, k.Parked(name))
		args = append(args, "="+name)
	}
	for _, q := range s.queues {
		keys = append(keys, k.Queue(q))
		args = append(args, q)
	}
	var reply []any
	err = redisbus.Retry(ctx, func(ctx context.Context) error {
		var err error
		reply, err = claimScript.Run(ctx, s.redis, keys, args...).Slice()
		if err != nil {
			return err
		}
		if err := protocolError(reply); errors.Is(err, errExpired) {
			return err // the next heartbeat renews it, or the node's own fence ends it
		}
		return nil
	})
	if err == nil {
		err = protocolError(reply)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("claim: %w", err)
	}
	if len(reply) != 7 {
		return nil, nil, fmt.Errorf("claim: reply of %d parts", len(reply))
	}
	s.parked = slices.DeleteFunc(texts(reply[1]), func(name string) bool { return !s.handles(name) })
	got = parseClaimed(texts(reply[3]), texts(reply[4]), texts(reply[5]))
	idle, _ := reply[6].(int64)
	s.idle = idle == 1
	return got, texts(reply[2]), nil
}

func parseClaimed(tried, ids, records []string) []claimed {
	got := make([]claimed, len(ids))
	for i, id := range ids {
		got[i].id = id
		got[i].record, got[i].malformed = parseRecord(records[i])
	}
	for i := 0; i+1 < len(tried); i += 2 {
		if at := slices.Index(ids, tried[i]); at >= 0 {
			got[at].tries = parseTries(tried[i+1])
		}
	}
	return got
}

// commit ends tasks; it reorders them. refused maps the positions of those that
// did not end to a code.
func (s *stream) commit(ctx context.Context, batch []outcome) (refused map[int]string, err error) {
	s.commits++
	k := s.keys
	keys := []string{
		k.Leases(), k.Stream(s.incarnation), k.Owned(s.incarnation), k.Tasks(), k.Tries(), k.Delayed(), k.Dead(),
		k.Reasons(), k.Done(), k.Results(), k.Stats(), k.ParkedNames(), k.Queues(),
	}
	// Most tasks are done and nothing more: of these only the ids are sent.
	slices.SortStableFunc(batch, func(a, b outcome) int { return a.weight() - b.weight() })
	plain := 0
	for plain < len(batch) && batch[plain].weight() == 0 {
		plain++
	}
	args := make([]any, 0, 9+2*len(batch))
	args = append(args, s.incarnation, s.commits,
		k.QueuePrefix(), k.IdlePrefix(), k.WakePrefix(), k.Due(), k.ParkedPrefix(), plain, len(batch)-plain)
	for _, o := range batch {
		args = append(args, o.id)
	}
	for _, o := range batch[plain:] {
		args = append(args, o.verb)
		args = append(args, o.args...)
		args = append(args, len(o.effects))
		for _, e := range o.effects {
			args = append(args, e.kind)
			args = append(args, e.args...)
		}
	}
	var reply []any
	err = redisbus.Retry(ctx, func(ctx context.Context) error {
		var err error
		reply, err = s.ending.Run(ctx, s.redis, keys, args...).Slice()
		return err
	})
	if err == nil {
		err = protocolError(reply)
	}
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	refused = map[int]string{}
	for i := 1; i+1 < len(reply); i += 2 {
		position, _ := reply[i].(int64)
		code, _ := reply[i+1].(string)
		refused[int(position)-1] = code
	}
	return refused, nil
}

func texts(v any) []string {
	items, _ := v.([]any)
	out := make([]string, 0, len(items))
	for _, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
