package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Queue describes one queue.
type Queue struct { //nolint:recvcheck // a value must marshal itself too
	Name   string `json:"name"`
	Paused bool   `json:"paused"`
	Limits Limits `json:"limits"`
	// Defaults are what an operator has set for its tasks ([Inspector.SetDefaults]).
	Defaults Defaults `json:"defaults,omitzero"`

	Pending int64 `json:"pending"` // tasks in its lines or parked
	Parked  int64 `json:"parked"`  // pending tasks that no node which claimed them handles
	Grouped int64 `json:"grouped"` // pending tasks that are in groups
	Delayed int64 `json:"delayed"`
	Active  int64 `json:"active"`
	Bytes   int64 `json:"bytes"` // size of its tasks' records, while there is a limit on bytes

	// RestsUntil is until when no task of the queue begins, as a handler asked with [Throttle]; zero if it does not rest.
	RestsUntil time.Time `json:"restsUntilAt,omitzero"`

	// Oldest is for how long the task that is claimed next has been stored; of a queue with groups, the longest of
	// some that may be next.
	Oldest time.Duration `json:"-"`
	// Throughput is the number of done tasks per second over the last full minute. Wait
	// and Run are the average times that these tasks waited until they began, and ran.
	Throughput float64       `json:"throughput"`
	Wait       time.Duration `json:"-"`
	Run        time.Duration `json:"-"`

	Ever Totals `json:"ever"`

	shared int64 // active tasks that take no place of its Concurrency, as another of their batch does
}

// Totals count the events of all tasks since the namespace was first used.
type Totals struct {
	Enqueued    int64 `json:"enqueued"`
	Done        int64 `json:"done"`
	Failed      int64 `json:"failed"`      // runs that were tried again
	Snoozed     int64 `json:"snoozed"`     // runs that ended with [Snooze]
	Throttled   int64 `json:"throttled"`   // runs that ended with [Throttle]
	Dead        int64 `json:"dead"`        // quarantined ones included
	Quarantined int64 `json:"quarantined"` // dead after too many crashes
	Cancelled   int64 `json:"cancelled"`
	Revived     int64 `json:"retried"`   // dead or cancelled tasks that were retried
	Deleted     int64 `json:"deleted"`   // by somebody
	Dropped     int64 `json:"dropped"`   // dead or cancelled tasks that were forgotten
	HandedOn    int64 `json:"takenOver"` // taken over from a node that ended
}

func (t *Totals) fields() map[string]*int64 {
	return map[string]*int64{
		"enqueued": &t.Enqueued, "done": &t.Done, "failed": &t.Failed, "snoozed": &t.Snoozed, "throttled": &t.Throttled,
		"dead": &t.Dead, "quarantined": &t.Quarantined,
		"cancelled": &t.Cancelled, "revived": &t.Revived, "deleted": &t.Deleted, "dropped": &t.Dropped, "handedOn": &t.HandedOn,
	}
}

// Queues returns all queues that were ever used, sorted by name. It reads one place after
// the other: a task that moves meanwhile may be counted twice or not at all.
func (i *Inspector) Queues(ctx context.Context) ([]Queue, error) {
	s, err := i.snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("queues: %w", link.Explain(err))
	}
	return s.queues, nil
}

// Counts counts the tasks of a namespace by state, and their events.
type Counts struct {
	Pending   int64 `json:"pending"` // in a queue or parked
	Parked    int64 `json:"parked"`  // those of Pending that no node which claimed them handles
	Delayed   int64 `json:"delayed"` // waiting for their time, retries included
	Blocked   int64 `json:"blocked"` // waiting for other tasks
	Active    int64 `json:"active"`  // in the hands of a node
	Dead      int64 `json:"dead"`
	Cancelled int64 `json:"cancelled"`

	// Since the namespace was first used:

	Enqueued    int64 `json:"enqueued"`
	Done        int64 `json:"done"`
	Failed      int64 `json:"failed"`      // runs that were tried again
	HandedOn    int64 `json:"takenOver"`   // taken over from a node that ended
	Quarantined int64 `json:"quarantined"` // dead after too many crashes
	Deleted     int64 `json:"deleted"`     // by somebody
	Dropped     int64 `json:"dropped"`     // dead or cancelled ones that were forgotten
}

// Counts counts all tasks by state. Like [Inspector.Queues], it may count a task that moves
// meanwhile twice or not at all.
func (i *Inspector) Counts(ctx context.Context) (Counts, error) {
	s, err := i.snapshot(ctx)
	if err != nil {
		return Counts{}, fmt.Errorf("count tasks: %w", link.Explain(err))
	}
	out := Counts{Dead: s.dead, Cancelled: s.cancelled, Blocked: s.blocked}
	for _, q := range s.queues {
		out.Pending += q.Pending
		out.Parked += q.Parked
		out.Delayed += q.Delayed
		out.Active += q.Active
	}
	for field, value := range s.stats {
		_, what, _ := strings.Cut(field, "|")
		n, _ := strconv.ParseInt(value, 10, 64)
		if to := map[string]*int64{
			"enqueued": &out.Enqueued, "done": &out.Done, "failed": &out.Failed, "handedOn": &out.HandedOn,
			"quarantined": &out.Quarantined, "deleted": &out.Deleted, "dropped": &out.Dropped,
		}[what]; to != nil {
			*to += n
		}
	}
	return out, nil
}

// snapshot is where all tasks are.
type snapshot struct {
	queues                   []Queue
	dead, cancelled, blocked int64
	stats                    map[string]string
	now                      time.Time
}

func (i *Inspector) snapshot(ctx context.Context) (snapshot, error) {
	k := i.keys
	var queues, parked *redis.StringSliceCmd
	var dead, cancelled, blocked *redis.IntCmd
	var stats, active, bytes, settings, grouped, defaults *redis.MapStringStringCmd
	var now *redis.TimeCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		queues, parked, now = p.SMembers(ctx, k.Queues()), p.SMembers(ctx, k.ParkedLists()), p.Time(ctx)
		dead, cancelled, blocked = p.ZCard(ctx, k.Dead()), p.ZCard(ctx, k.Cancelled()), p.HLen(ctx, k.Blocked())
		stats, active = p.HGetAll(ctx, k.Stats()), p.HGetAll(ctx, k.Active())
		bytes, settings = p.HGetAll(ctx, k.Bytes()), p.HGetAll(ctx, k.Settings())
		grouped = p.HGetAll(ctx, k.Grouped())
		defaults = p.HGetAll(ctx, k.QueueDefaults())
		return nil
	})
	if err != nil {
		return snapshot{}, err
	}
	s := snapshot{dead: dead.Val(), cancelled: cancelled.Val(), blocked: blocked.Val(), stats: stats.Val(), now: now.Val()}
	names := queues.Val()
	slices.Sort(names)
	for _, name := range names {
		q := Queue{Name: name}
		q.Active, _ = strconv.ParseInt(active.Val()[name], 10, 64)
		q.shared, _ = strconv.ParseInt(active.Val()[name+queue.SharedMark], 10, 64)
		q.Bytes, _ = strconv.ParseInt(bytes.Val()[name], 10, 64)
		set := queue.ParseSettings(settings.Val()[name])
		q.Paused, q.Limits = set.Paused, limitsOf(set.Limits)
		q.Grouped, _ = strconv.ParseInt(grouped.Val()[name], 10, 64)
		q.Pending = q.Grouped
		q.Defaults = defaultsOf(queue.ParseDefaults(defaults.Val()[name]))
		for what, to := range q.Ever.fields() {
			*to, _ = strconv.ParseInt(s.stats[name+"|"+what], 10, 64)
		}
		q.parseSpeed(s.stats[name+"|speed"], s.now)
		s.queues = append(s.queues, q)
	}
	first, err := i.countPlaces(ctx, &s, parked.Val())
	if err == nil {
		err = i.completeQueues(ctx, s, first)
	}
	if err == nil {
		err = i.findOldest(ctx, s, first)
	}
	return s, err
}

// heads are the first tasks of lines, by queue.
type heads map[string][]*redis.StringCmd

// countPlaces counts the tasks of each queue where they wait, and returns the first ones of the queue's own lines.
func (i *Inspector) countPlaces(ctx context.Context, s *snapshot, parked []string) (next heads, err error) {
	k := i.keys
	next = heads{}
	pending, parkedCounts := map[string][]*redis.IntCmd{}, map[string]*redis.IntCmd{}
	delayed := map[string]*redis.IntCmd{}
	_, err = i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, q := range s.queues {
			for _, line := range queue.Lines(q.Name) {
				pending[q.Name] = append(pending[q.Name], p.LLen(ctx, k.Queue(line)))
				next[q.Name] = append(next[q.Name], p.LIndex(ctx, k.Queue(line), -1))
			}
			delayed[q.Name] = p.ZCard(ctx, k.Delayed(q.Name))
		}
		for _, list := range parked {
			of, name, _ := strings.Cut(list, "|")
			parkedCounts[list] = p.LLen(ctx, k.Parked(of, name))
		}
		return nil
	})
	// A key that is something else's holds no task; no line that is empty has a first.
	if err != nil && !link.IsWrongType(err) && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	for at := range s.queues {
		q := &s.queues[at]
		for _, n := range pending[q.Name] {
			q.Pending += n.Val()
		}
		q.Delayed = delayed[q.Name].Val()
		for list, parked := range parkedCounts {
			if of, _, _ := strings.Cut(list, "|"); of == q.Name {
				q.Parked += parked.Val()
				q.Pending += parked.Val()
			}
		}
	}
	return next, nil
}

// findOldest sets for how long the oldest of the first tasks of each queue has been stored.
func (i *Inspector) findOldest(ctx context.Context, s snapshot, first heads) error {
	var ids []string
	var of []*Queue
	for at := range s.queues {
		for _, id := range first[s.queues[at].Name] {
			if id.Err() == nil {
				ids, of = append(ids, id.Val()), append(of, &s.queues[at])
			}
		}
	}
	for some := range slices.Chunk(ids, listPage) {
		records, err := i.redis.HMGet(ctx, i.keys.Tasks(), some...).Result()
		if err != nil {
			return err
		}
		for at := range some {
			text, _ := records[at].(string)
			if r, malformed := queue.ParseRecord(text); text != "" && malformed == nil {
				of[at].Oldest = max(of[at].Oldest, s.now.Sub(r.Enqueued))
			}
		}
		of = of[len(some):]
	}
	return nil
}

// parseSpeed parses the throughput figures that commit.lua keeps of a queue: those of one
// minute and of the minute before.
func (q *Queue) parseSpeed(text string, now time.Time) {
	f := strings.Fields(text)
	if len(f) != 9 {
		return
	}
	var n [9]int64
	for i := range f {
		n[i], _ = strconv.ParseInt(f[i], 10, 64)
	}
	var minute []int64 // runs, first runs, µs these waited, µs all ran
	switch now.Unix()/60 - n[0] {
	case 0:
		minute = n[5:]
	case 1:
		minute = n[1:5]
	default:
		return
	}
	q.Throughput = float64(minute[0]) / 60
	q.Wait = time.Duration(minute[2]/max(minute[1], 1)) * time.Microsecond
	q.Run = time.Duration(minute[3]/max(minute[0], 1)) * time.Microsecond
}

// Events returns the counts by event, as in the names of metrics.
func (t *Totals) Events() map[string]int64 {
	events := map[string]int64{}
	for event, n := range t.fields() {
		switch event {
		case "revived":
			event = "retried"
		case "handedOn":
			event = "taken_over"
		}
		events[event] = *n
	}
	return events
}

// Add adds the counts of other tasks.
func (t *Totals) Add(other Totals) {
	more := other.fields()
	for event, n := range t.fields() {
		*n += *more[event]
	}
}
