package metrics

import (
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stellarfw/stellar/worker/membership"
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector. It asks Redis for at most [scrapeTime].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	s := scrape{m, to}
	s.collectTasks()
	s.collectRest()
	ctx, set := m.watched()
	if set == nil {
		return
	}
	s.collectSet(set)
	s.collectCluster(ctx, set)
	s.counts("stellar_scrape_errors_total", m.scrapeErrors)
}

// scrape writes what is scraped.
type scrape struct {
	*Metrics

	to chan<- prometheus.Metric
}

func (s scrape) value(name string, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if s.kinds[name].Kind == Counter {
		kind = prometheus.CounterValue
	}
	s.to <- prometheus.MustNewConstMetric(s.descs[name], kind, v, labels...)
}

func (s scrape) truth(name string, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	s.value(name, v, labels...)
}

func (s scrape) histogram(name string, h *histogram, labels ...string) {
	s.to <- histogramMetric{h, s.descs[name], pairs(s.kinds[name].Labels, labels)}
}

func (s scrape) counts(name string, all *children[atomic.Uint64]) {
	n := len(s.kinds[name].Labels)
	all.each(func(of key, c *atomic.Uint64) { s.value(name, float64(c.Load()), of[:n]...) })
}

func (s scrape) histograms(name string, all *children[histogram]) {
	n := len(s.kinds[name].Labels)
	all.each(func(of key, h *histogram) { s.histogram(name, h, of[:n]...) })
}

func (s scrape) collectTasks() {
	s.byTask.each(func(of key, c *taskCounts) {
		for i, outcome := range outcomes {
			if n := c.outcomes[i].Load(); n > 0 {
				s.value("stellar_task_runs_total", float64(n), of[0], of[1], string(outcome))
			}
		}
		for i, result := range results {
			if n := c.results[i].Load(); n > 0 {
				s.value("stellar_enqueues_total", float64(n), of[0], of[1], string(result))
			}
		}
	})
	s.histograms("stellar_task_run_seconds", s.runs)
	s.histograms("stellar_task_wait_seconds", s.waits)
	s.histograms("stellar_task_batch_tasks", s.batches)
	s.counts("stellar_task_steps_total", s.steps)
	s.counts("stellar_task_ends_total", s.ends)
	s.counts("stellar_task_overdue_total", s.overdue)
	s.histogram("stellar_enqueue_seconds", s.enqueues)
	s.histogram("stellar_enqueue_batch_tasks", s.enqueueBatches)
	s.histogram("stellar_claim_seconds", s.claims)
	s.histogram("stellar_commit_seconds", s.commits)
	s.histogram("stellar_commit_batch_tasks", s.commitBatches)
	s.takeOvers.each(func(of key, c *takeOverCounts) {
		s.value("stellar_takeovers_total", float64(c.times.Load()), of[0])
		s.value("stellar_takeover_tasks_total", float64(c.tasks.Load()), of[0])
		s.histogram("stellar_takeover_seconds", c.took, of[0])
	})
	s.counts("stellar_periodic_ticks_total", s.ticks)
	s.histograms("stellar_periodic_lateness_seconds", s.lateness)
}

func (s scrape) collectRest() {
	s.counts("stellar_node_starts_total", s.starts)
	s.counts("stellar_node_crashes_total", s.crashes)
	s.histogram("stellar_node_recovery_seconds", s.recovery)
	s.counts("stellar_redis_errors_total", s.redisErrors)
	s.histograms("stellar_redis_command_seconds", s.commands)
	s.histograms("stellar_rpc_client_seconds", s.calls)
	s.histograms("stellar_rpc_server_seconds", s.methods)
	s.value("stellar_bus_messages_total", float64(s.sent.Load()), "sent")
	s.value("stellar_bus_messages_total", float64(s.received.Load()), "received")
	s.counts("stellar_bus_dropped_total", s.drops)
	s.counts("stellar_bus_gaps_total", s.gaps)
	s.value("stellar_bus_reconnects_total", float64(s.gaps.of(key{"reconnect"}).Load()))
	s.counts("stellar_cache_ops_total", s.cacheOps)
	s.histograms("stellar_cache_op_seconds", s.cacheTimes)
	s.counts("stellar_cache_near_total", s.near)
	s.histogram("stellar_lock_wait_seconds", s.lockWaits)
	s.histogram("stellar_lock_hold_seconds", s.lockHolds)
	s.value("stellar_locks_lost_total", float64(s.locksLost.Load()))
}

// collectSet writes the state of the set.
func (s scrape) collectSet(set Set) {
	status := set.Status()
	s.value("stellar_build_info", 1, status.Process.Version, runtime.Version())
	states := map[membership.State]int{
		membership.Starting: 0, membership.Joining: 0, membership.Running: 0, membership.Draining: 0,
	}
	used, slots, waiting, running := 0, 0, 0, 0
	for _, n := range set.Nodes() {
		states[n.State()]++
		inHand, all := n.Slots()
		used, slots = used+inHand, slots+all
		if a := n.API(); a != nil {
			stats := a.RPC.Stats()
			waiting, running = waiting+stats.Waiting, running+stats.Running
		}
	}
	for state, n := range states {
		s.value("stellar_nodes", float64(n), string(state))
	}
	ready, want := set.Ready()
	s.value("stellar_nodes_wanted", float64(want))
	s.truth("stellar_ready", ready >= want)
	s.truth("stellar_quiet", status.Quiet || !status.Healthy)
	s.value("stellar_zombies", float64(status.Zombies.Count))
	s.value("stellar_zombie_limit", float64(status.Zombies.Limit))
	s.value("stellar_slots", float64(slots))
	s.value("stellar_slots_used", float64(used))
	s.truth("stellar_redis_up", status.Redis)
	pool := set.Pool()
	s.value("stellar_redis_pool_connections", float64(pool.Used), "used")
	s.value("stellar_redis_pool_connections", float64(pool.Idle), "idle")
	s.value("stellar_rpc_in_flight", float64(waiting), "client")
	s.value("stellar_rpc_in_flight", float64(running), "server")
}
