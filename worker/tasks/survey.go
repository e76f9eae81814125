package tasks

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/membership"
)

// surveyQueues sets which queues there are, and what waits in them.
func (i *Inspector) surveyQueues(ctx context.Context, s *Snapshot) error {
	found, err := i.store.Survey(ctx, s.Last)
	if err != nil {
		return err
	}
	before := map[string]QueueState{}
	for _, q := range s.Queues {
		before[q.Name] = q
	}
	parked := map[string]int64{}
	for list, n := range found.Parked {
		of, _, _ := strings.Cut(list, "|")
		parked[of] += n
	}
	s.At, s.Last, s.QueuesUsed = found.Now, found.Last, found.Used
	s.Blocked, s.Dead, s.Cancelled = found.Blocked, found.Dead, found.Cancelled
	busy := map[string]bool{}
	for _, name := range found.Busy {
		busy[name] = true
	}
	s.Queues = s.Queues[:0:0]
	for _, name := range surveyed(found, before, parked) {
		q := before[name]
		q.Name, q.Parked = name, parked[name]
		if looked, is := found.Looked[name]; is || !busy[name] {
			q.Pending = looked.Urgent + looked.Normal + looked.Low + looked.Grouped
			q.Urgent, q.Low, q.Grouped, q.Groups, q.Delayed = looked.Urgent, looked.Low, looked.Grouped, looked.Groups, looked.Delayed
			q.Oldest, q.LookedAt = looked.Oldest, found.Now
		}
		s.Queues = append(s.Queues, q)
	}
	return nil
}

// surveyed returns the names of the queues of a snapshot, sorted: all that were ever used or, if there are too
// many, those with tasks first, then those of the snapshot before.
func surveyed(found queue.Survey, before map[string]QueueState, parked map[string]int64) []string {
	names := map[string]struct{}{}
	add := func(more []string) {
		for _, name := range more {
			if len(names) < MaxSnapshotQueues {
				names[name] = struct{}{}
			}
		}
	}
	add(found.Busy)
	add(slices.Sorted(maps.Keys(parked)))
	if found.Used > len(found.Names) { // some are enough: those of before have their totals
		add(slices.Sorted(maps.Keys(before)))
	}
	add(found.Names)
	return slices.Sorted(maps.Keys(names))
}

// names returns the names of a snapshot's queues.
func (s *Snapshot) names() []string {
	names := make([]string, len(s.Queues))
	for at := range s.Queues {
		names[at] = s.Queues[at].Name
	}
	return names
}

// surveySettings sets what is set for queues and what runs of them.
func (i *Inspector) surveySettings(ctx context.Context, s *Snapshot) error {
	names := s.names()
	if len(names) == 0 {
		return nil
	}
	var active, bytes, settings *redis.SliceCmd
	var resting, rates *redis.FloatSliceCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		active, bytes = p.HMGet(ctx, i.keys.Active(), names...), p.HMGet(ctx, i.keys.Bytes(), names...)
		settings = p.HMGet(ctx, i.keys.Settings(), names...)
		resting, rates = p.ZMScore(ctx, i.keys.Resting(), names...), p.ZMScore(ctx, i.keys.Rates(), names...)
		return nil
	})
	if err != nil {
		return err
	}
	for at := range s.Queues {
		q := &s.Queues[at]
		q.Active, q.Bytes = wholeOf(active.Val()[at]), wholeOf(bytes.Val()[at])
		text, _ := settings.Val()[at].(string)
		set := queue.ParseSettings(text)
		q.Paused, q.Limits = set.Paused, limitsOf(set.Limits)
		q.RestsUntil, q.NextStart = time.Time{}, time.Time{}
		if until := queue.TimeOf(int64(resting.Val()[at])); until.After(s.At) {
			q.RestsUntil = until
		}
		if next := q.Limits.Rate.next(rates.Val()[at]); next.After(s.At) {
			q.NextStart = next
		}
	}
	return nil
}

// next returns when the next task may begin of a party that has all its tokens again at full, in microseconds; zero if
// there is no rate.
func (r Rate) next(full float64) time.Time {
	if r.Tasks == 0 {
		return time.Time{}
	}
	interval := float64(r.Per.Microseconds()) / float64(r.Tasks)
	return time.UnixMicro(int64(full + float64(1-r.stored().Burst)*interval))
}

func wholeOf(v any) int64 {
	text, _ := v.(string)
	n, _ := strconv.ParseInt(text, 10, 64) // 0 for what is no number
	return n
}

// surveyTotals sets what happened to the tasks of queues so far.
func (i *Inspector) surveyTotals(ctx context.Context, s *Snapshot) error {
	var fields []string
	var to []*string
	speeds := make([]string, len(s.Queues))
	counts := make([]map[string]*int64, len(s.Queues))
	texts := map[string]*string{}
	for at := range s.Queues {
		counts[at] = s.Queues[at].Ever.fields()
		for what := range counts[at] {
			texts[s.Queues[at].Name+"|"+what] = new(string)
		}
		texts[s.Queues[at].Name+"|speed"] = &speeds[at]
	}
	for field, text := range texts {
		fields, to = append(fields, field), append(to, text)
	}
	const page = 500
	for some := range slices.Chunk(fields, page) {
		values, err := i.redis.HMGet(ctx, i.keys.Stats(), some...).Result()
		if err != nil {
			return err
		}
		for n, v := range values {
			*to[n], _ = v.(string)
		}
		to = to[len(some):]
	}
	for at := range s.Queues {
		q := &s.Queues[at]
		for what, n := range counts[at] {
			*n = wholeOf(*texts[q.Name+"|"+what])
		}
		var speed Queue
		speed.parseSpeed(speeds[at], s.At)
		q.Throughput, q.Wait, q.Run = speed.Throughput, speed.Wait, speed.Run
	}
	return nil
}

// Per node, the nodes and the claimers are read so often at most: a thousand nodes cost as much as some hundred.
const (
	nodesEvery    = 25 * time.Millisecond
	claimersEvery = 50 * time.Millisecond
)

// recent reports whether something that costs as much as there are nodes need not be read again yet.
func (s *Snapshot) recent(at time.Time, each, age time.Duration) bool {
	return !at.IsZero() && !at.After(s.At) && s.At.Sub(at) < max(age, time.Duration(len(s.Nodes))*each)-age/2
}

// surveyNodes sets the nodes.
func (i *Inspector) surveyNodes(ctx context.Context, s *Snapshot, age time.Duration) error {
	if s.recent(s.NodesAt, nodesEvery, age) {
		return nil
	}
	members, err := membership.Directory{Client: i.redis, Keys: i.keys}.List(ctx)
	if err != nil {
		return err
	}
	quiet := map[string]bool{}
	for _, n := range s.Nodes {
		quiet[n.Incarnation] = n.Quiet
	}
	s.Nodes, s.NodesAt = s.Nodes[:0:0], s.At
	for _, m := range members {
		s.Nodes = append(s.Nodes, NodeState{
			ID: m.Incarnation.ID, Incarnation: m.Incarnation.String(), Host: m.Process.Host, PID: m.Process.PID,
			Program: m.Process.Program, Version: m.Process.Version, State: m.State, Live: m.Live,
			Quiet: quiet[m.Incarnation.String()], InHand: m.TasksInHand, Slots: m.Process.Slots, Since: s.At.Add(-m.Uptime),
		})
	}
	return nil
}

// surveyClaimers sets which nodes serve which queues, and which are quiet.
func (i *Inspector) surveyClaimers(ctx context.Context, s *Snapshot, age time.Duration) error {
	if s.recent(s.ClaimersAt, claimersEvery, age) {
		return nil
	}
	type kind struct { // of nodes that serve the same queues
		named, list string
		quiet       bool
	}
	kinds, quiet := map[kind][]server{}, map[string]bool{}
	err := i.servers(ctx, func(n server) bool {
		k := kind{n.named, n.list, n.quiet}
		kinds[k] = append(kinds[k], n)
		quiet[n.incarnation] = n.quiet
		return true
	})
	if err != nil {
		return err
	}
	for at := range s.Queues {
		q := &s.Queues[at]
		q.Claimers, q.Quiet = 0, 0
		for k, nodes := range kinds {
			switch {
			case !nodes[0].serves(q.Name):
			case k.quiet:
				q.Quiet += len(nodes)
			default:
				q.Claimers += len(nodes)
			}
		}
	}
	for at := range s.Nodes {
		s.Nodes[at].Quiet = quiet[s.Nodes[at].Incarnation]
	}
	s.ClaimersAt = s.At
	return nil
}

// surveyPeriodic sets the periodic tasks.
func (i *Inspector) surveyPeriodic(ctx context.Context, s *Snapshot) error {
	all, err := i.Periodic(ctx)
	if err != nil {
		return err
	}
	s.Periodic = s.Periodic[:0:0]
	for _, p := range all {
		s.Periodic = append(s.Periodic, PeriodicState{p.Name, p.Task, p.Queue, p.Last, p.Next, p.Paused, p.Orphaned})
	}
	return nil
}
