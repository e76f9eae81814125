package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// stream is one incarnation's numbered claims and commits. Each kind has at
// most one request on its way, and each is repeated under its number until its
// answer is known or ctx ends.
type stream struct {
	redis       redis.UniversalClient
	keys        keyspace
	incarnation string
	queues      []string
	weights     map[string]int
	handles     func(task string) bool
	ending      *link.Script // lua/commit.lua

	claims, commits uint64
	idle            bool     // Redis knows this node as idle
	parked          []string // "queue|name" of parked tasks that this node handles, as of the last claim
}

// claimed is a task that this incarnation has in hand.
type claimed struct {
	id        string
	tries     tries
	record    record
	malformed error
	clock     clock // Redis's, of the claim
}

// clock is Redis's time at a moment of this process.
type clock struct{ redis, local time.Time }

// now estimates Redis's time; it is late by the way of the reply.
func (c clock) now() time.Time { return c.redis.Add(time.Since(c.local)) }

// order returns the queues in the order in which this claim looks at them: as
// they were given or, with weights, at random in proportion to these.
func (s *stream) order() []string {
	if len(s.weights) == 0 {
		return s.queues
	}
	// Exponential variates of the weights' rates: the smallest wins with the
	// probability of its weight, then the next among the rest.
	at := map[string]float64{}
	for _, q := range s.queues {
		at[q] = -math.Log(1-rand.Float64()) / float64(max(s.weights[q], 1)) //nolint:gosec // not for secrets
	}
	return slices.SortedFunc(slices.Values(s.queues), func(a, b string) int { return cmp.Compare(at[a], at[b]) })
}

// claim returns up to want tasks. broken are keys whose type is wrong: such a queue
// gives nothing, and where nobody can idle, nodes look only now and then. After
// fewer than want the node counts as idle and is woken by the next task.
func (s *stream) claim(ctx context.Context, want int) (got []claimed, broken []string, err error) {
	s.claims++
	wasIdle := ""
	if s.idle {
		wasIdle = "1"
	}
	args := []any{s.incarnation, s.claims, want, wasIdle, len(s.queues)}
	for _, q := range s.order() {
		args = append(args, q)
	}
	for _, list := range s.parked {
		args = append(args, list)
	}
	var reply []any
	err = link.Retry(ctx, func(ctx context.Context) error {
		var err error
		reply, err = claimScript.Run(ctx, s.redis, []string{s.keys.Tasks()}, args...).Slice()
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
	if len(reply) != 8 {
		return nil, nil, fmt.Errorf("claim: reply of %d parts", len(reply))
	}
	s.parked = slices.DeleteFunc(texts(reply[1]), func(list string) bool {
		queue, name, _ := strings.Cut(list, "|")
		return !s.handles(name) || !slices.Contains(s.queues, queue)
	})
	now, _ := reply[7].(string)
	got = parseClaimed(texts(reply[3]), texts(reply[4]), texts(reply[5]), clock{millis(now), time.Now()})
	idle, _ := reply[6].(int64)
	s.idle = idle == 1
	return got, texts(reply[2]), nil
}

func parseClaimed(tried, ids, records []string, now clock) []claimed {
	got := make([]claimed, len(ids))
	for i, id := range ids {
		got[i].id, got[i].clock = id, now
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
	args := append([]any{s.incarnation, s.commits}, commitArguments(batch)...)
	var reply []any
	err = link.Retry(ctx, func(ctx context.Context) error {
		var err error
		reply, err = s.ending.Run(ctx, s.redis, []string{s.keys.Tasks()}, args...).Slice()
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

// commitArguments puts a batch in the order and the words of commit.lua: of most
// tasks, which are done and nothing more, only the ids are sent, by queue.
func commitArguments(batch []outcome) []any {
	slices.SortStableFunc(batch, func(a, b outcome) int {
		return cmp.Or(a.weight()-b.weight(), strings.Compare(a.queue, b.queue))
	})
	plain := 0
	for plain < len(batch) && batch[plain].weight() == 0 {
		plain++
	}
	args := append(make([]any, 0, 16+3*len(batch)), speeds(batch)...)
	groupsAt := len(args)
	args = append(args, 0)
	groups, countAt := 0, 0
	for i, o := range batch[:plain] {
		if i == 0 || o.queue != batch[i-1].queue {
			groups++
			args = append(args, o.queue, 0)
			countAt = len(args) - 1
		}
		args = append(args, o.id)
		args[countAt] = len(args) - 1 - countAt
	}
	args[groupsAt] = groups
	args = append(args, len(batch)-plain)
	for _, o := range batch[plain:] {
		args = append(args, o.id, o.run.claimed.record.line, o.verb)
		args = append(args, o.args...)
		args = append(args, len(o.effects))
		for _, e := range o.effects {
			args = append(args, e.kind)
			args = append(args, e.args...)
		}
	}
	return args
}

// speeds says of each queue how many of the tasks are done, how many of these
// ran for the first time, and how long these waited and all ran, in microseconds.
func speeds(batch []outcome) []any {
	type speed struct {
		runs, first int
		waited, ran time.Duration
	}
	var order []string
	of := map[string]*speed{}
	for i := range batch {
		o := &batch[i]
		if o.verb != verbDone {
			continue
		}
		s := of[o.queue]
		if s == nil {
			s = &speed{}
			of[o.queue] = s
			order = append(order, o.queue)
		}
		s.runs++
		s.ran += o.run.ran
		if o.run.claimed.tries == (tries{}) {
			s.first++
			s.waited += o.run.waited
		}
	}
	args := []any{len(order)}
	for _, q := range order {
		s := of[q]
		args = append(args, q, s.runs, s.first, s.waited.Microseconds(), s.ran.Microseconds())
	}
	return args
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
