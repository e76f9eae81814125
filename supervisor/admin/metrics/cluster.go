package metrics

import (
	"context"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// scrapeTime is how long a scrape waits for Redis.
const scrapeTime = 2 * time.Second

// collectCluster writes the state of the cluster, except the parts that cannot be read, which it counts.
func (s scrape) collectCluster(ctx context.Context, set Set) {
	if up := set.Status().Redis; !up { // to wait for it would make the scrape late
		s.scrapeErrors.of(key{string(snapshotPart)}).Add(1)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	snapshot, err := set.Inspector().Snapshot(ctx, s.cfg.Age)
	if err != nil {
		s.scrapeErrors.of(key{string(snapshotPart)}).Add(1)
		return
	}
	has := map[tasks.SnapshotPart]bool{}
	for _, part := range tasks.SnapshotParts() {
		if has[part] = snapshot.Errors[part] == ""; !has[part] {
			s.scrapeErrors.of(key{string(part)}).Add(1)
		}
	}
	s.value("stellar_snapshot_age_seconds", max(0, snapshot.Now.Sub(snapshot.At).Seconds()))
	if has[tasks.PartQueues] {
		s.value("stellar_cluster_tasks", float64(snapshot.Blocked), "blocked")
		s.value("stellar_cluster_tasks", float64(snapshot.Dead), "dead")
		s.value("stellar_cluster_tasks", float64(snapshot.Cancelled), "cancelled")
	}
	for _, q := range s.bounded(snapshot) {
		s.collectQueue(q, has, snapshot.Now)
	}
	if has[tasks.PartNodes] {
		s.collectNodes(snapshot)
	}
	if has[tasks.PartPeriodic] {
		s.collectPeriodic(snapshot.Periodic)
	}
}

// bounded returns the queues of a snapshot, those beyond [MaxValues] as one. A queue keeps its place.
func (s scrape) bounded(snapshot tasks.Snapshot) []tasks.QueueState {
	var all []tasks.QueueState
	var other *tasks.QueueState
	for _, q := range snapshot.Queues {
		if s.limits.fit(byQueue, q.Name) != Other {
			all = append(all, q)
			continue
		}
		if other == nil {
			other = &tasks.QueueState{Name: Other}
		}
		other.Pending, other.Parked, other.Delayed, other.Active =
			other.Pending+q.Pending, other.Parked+q.Parked, other.Delayed+q.Delayed, other.Active+q.Active
		other.Groups, other.Bytes = other.Groups+q.Groups, other.Bytes+q.Bytes
		if !q.Oldest.IsZero() && (other.Oldest.IsZero() || q.Oldest.Before(other.Oldest)) {
			other.Oldest = q.Oldest
		}
		other.Claimers, other.Quiet = max(other.Claimers, q.Claimers), max(other.Quiet, q.Quiet)
		other.Ever.Add(q.Ever)
	}
	if other != nil {
		all = append(all, *other)
	}
	return all
}

func (s scrape) collectQueue(q tasks.QueueState, has map[tasks.SnapshotPart]bool, now time.Time) {
	if has[tasks.PartQueues] {
		s.value("stellar_queue_tasks", float64(q.Pending), q.Name, "pending")
		s.value("stellar_queue_tasks", float64(q.Parked), q.Name, "parked")
		s.value("stellar_queue_tasks", float64(q.Delayed), q.Name, "delayed")
		s.value("stellar_queue_groups", float64(q.Groups), q.Name)
		s.value("stellar_queue_oldest_seconds", q.Age(now).Seconds(), q.Name)
	}
	if has[tasks.PartSettings] {
		s.value("stellar_queue_tasks", float64(q.Active), q.Name, "active")
		s.truth("stellar_queue_paused", q.Paused, q.Name)
		s.truth("stellar_queue_resting", q.RestsUntil.After(now) || q.NextStart.After(now), q.Name)
		s.collectLimits(q)
	}
	if has[tasks.PartTotals] {
		for event, n := range q.Ever.Events() {
			s.value("stellar_queue_events_total", float64(n), q.Name, event)
		}
	}
	if has[tasks.PartClaimers] {
		s.value("stellar_queue_claimers", float64(q.Claimers), q.Name, strconv.FormatBool(false))
		s.value("stellar_queue_claimers", float64(q.Quiet), q.Name, strconv.FormatBool(true))
	}
}

func (s scrape) collectLimits(q tasks.QueueState) {
	perSecond := func(r tasks.Rate) float64 {
		if r.Tasks == 0 {
			return 0
		}
		return float64(r.Tasks) / r.Per.Seconds()
	}
	for _, limit := range []struct {
		kind string
		most float64
	}{
		{"concurrency", float64(q.Limits.Concurrency)}, {"tasks", float64(q.Limits.Tasks)}, {"bytes", float64(q.Limits.Bytes)},
		{"per_group", float64(q.Limits.PerGroup)}, {"rate", perSecond(q.Limits.Rate)}, {"group_rate", perSecond(q.Limits.GroupRate)},
	} {
		if limit.most > 0 {
			s.value("stellar_queue_limit", limit.most, q.Name, limit.kind)
		}
	}
	if q.Limits.Bytes > 0 {
		s.value("stellar_queue_bytes", float64(q.Bytes), q.Name)
	}
}

func (s scrape) collectNodes(snapshot tasks.Snapshot) {
	type process struct {
		host string
		pid  int
	}
	states := map[string]int{"expired": 0}
	for _, state := range []membership.State{membership.Joining, membership.Running, membership.Draining} {
		states[string(state)] = 0
	}
	processes := map[process]struct{}{}
	used, all := 0, 0
	for _, n := range snapshot.Nodes {
		if !n.Live {
			states["expired"]++
			continue
		}
		states[string(n.State)]++
		processes[process{n.Host, n.PID}] = struct{}{}
		used, all = used+n.InHand, all+n.Slots
	}
	for state, n := range states {
		s.value("stellar_cluster_nodes", float64(n), state)
	}
	s.value("stellar_cluster_processes", float64(len(processes)))
	s.value("stellar_cluster_slots", float64(used), "used")
	s.value("stellar_cluster_slots", float64(max(0, all-used)), "free")
}

// collectPeriodic writes the periodic tasks, as many as a label has values.
func (s scrape) collectPeriodic(all []tasks.PeriodicState) {
	for _, p := range all {
		if s.limits.fit(byPeriodic, p.Name) == Other {
			continue
		}
		if !p.Next.IsZero() {
			s.value("stellar_periodic_next_timestamp_seconds", unix(p.Next), p.Name)
		}
		if !p.Last.IsZero() {
			s.value("stellar_periodic_last_timestamp_seconds", unix(p.Last), p.Name)
		}
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
