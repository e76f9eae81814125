package metrics

import "slices"

// Kind is the type of a metric.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram" // a native one too, for scrapers that take these
)

// Scope says whose figures a metric has.
type Scope string

// The scopes.
const (
	Process Scope = "process" // of this process, since it began
	Cluster Scope = "cluster" // of the whole cluster, the same from every process
)

// Metric describes a metric.
type Metric struct {
	Name    string
	Kind    Kind
	Scope   Scope
	Help    string
	Labels  []string
	Buckets []float64 // of a histogram
}

// Labels of several metrics.
const (
	byTask     = "task"
	byQueue    = "queue"
	byPeriodic = "periodic" // the name of a periodic task
	byState    = "state"
	byResult   = "result"
	byWhy      = "why"
	byReason   = "reason"
	byOp       = "op"
	byMethod   = "method"
	byCode     = "code"
)

// Buckets of histograms, in seconds and in tasks.
var (
	taskSeconds  = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
	shortSeconds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}
	batchTasks   = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
)

// maxBy is said of every figure of the cluster.
const maxBy = " Every process says the same: take max by, never sum."

// Table returns all metrics, those of the process first.
func Table() []Metric { return slices.Clone(table) }

var table = []Metric{
	{"stellar_build_info", Gauge, Process, "1, with the version of the program and of Go.", []string{"version", "go_version"}, nil},
	{"stellar_nodes", Gauge, Process, "Nodes of the process by state.", []string{byState}, nil},
	{"stellar_nodes_wanted", Gauge, Process, "Nodes that the process should run.", nil, nil},
	{"stellar_ready", Gauge, Process, "1 while all nodes run and Redis answers, as /readyz.", nil, nil},
	{"stellar_quiet", Gauge, Process, "1 while the nodes claim no tasks, because somebody asked for it or because of zombies.", nil, nil},
	{"stellar_zombies", Gauge, Process, "Handlers that outlived their nodes and go on.", nil, nil},
	{"stellar_zombie_limit", Gauge, Process, "At so many zombies the nodes claim no more tasks; negative for no limit.", nil, nil},
	{"stellar_slots", Gauge, Process, "Tasks that the process can run at a time.", nil, nil},
	{"stellar_slots_used", Gauge, Process, "Tasks that the process has in hand.", nil, nil},
	{"stellar_node_starts_total", Counter, Process,
		"Lives of nodes that began to run, by why: first, scale, crash, lease_lost, restart, roll, reload.", []string{byWhy}, nil},
	{"stellar_node_crashes_total", Counter, Process,
		"Lives of nodes that crashed, by kind: panic, error, goexit, injected, lease_lost.", []string{"kind"}, nil},
	{"stellar_node_recovery_seconds", Histogram, Process,
		"Time from a node's crash, or the loss of its lease, until it runs again.", nil, taskSeconds},

	{"stellar_task_runs_total", Counter, Process, "Runs of tasks that ended, by outcome.", []string{byTask, byQueue, "outcome"}, nil},
	{"stellar_task_run_seconds", Histogram, Process, "Time for which handlers ran.", []string{byTask}, taskSeconds},
	{"stellar_task_wait_seconds", Histogram, Process,
		"Time from when tasks were due until their first run began; retries are left out.", []string{byQueue}, taskSeconds},
	{"stellar_task_batch_tasks", Histogram, Process, "Tasks in a call of a handler of batches.", []string{byTask}, batchTasks},
	{"stellar_task_steps_total", Counter, Process,
		"Steps of tasks, by result: run, skipped (stored by an earlier run), failed.", []string{byTask, byResult}, nil},
	{"stellar_task_ends_total", Counter, Process,
		"Tasks that ended without a run, by how: quarantined, cancelled, deleted, deadline, malformed.", []string{byQueue, "how"}, nil},
	{"stellar_task_overdue_total", Counter, Process, "Runs whose handler went on after its context had ended.", []string{byTask}, nil},
	{"stellar_enqueues_total", Counter, Process,
		"Enqueues of tasks by result: accepted, duplicate, full, refused, unknown.", []string{byTask, byQueue, byResult}, nil},
	{"stellar_enqueue_seconds", Histogram, Process, "Time in which Redis answered calls that enqueue tasks.", nil, shortSeconds},
	{"stellar_enqueue_batch_tasks", Histogram, Process, "Tasks in a call that enqueues.", nil, batchTasks},
	{"stellar_claim_seconds", Histogram, Process, "Time in which Redis answered claims.", nil, shortSeconds},
	{"stellar_commit_seconds", Histogram, Process, "Time in which Redis answered commits.", nil, shortSeconds},
	{"stellar_commit_batch_tasks", Histogram, Process, "Tasks in a commit.", nil, batchTasks},
	{"stellar_takeovers_total", Counter, Process,
		"Take-overs of the tasks of ended nodes, by why: crash, lease, stop, outlived.", []string{byWhy}, nil},
	{"stellar_takeover_tasks_total", Counter, Process, "Tasks that were taken over.", []string{byWhy}, nil},
	{"stellar_takeover_seconds", Histogram, Process, "Time that take-overs took.", []string{byWhy}, shortSeconds},
	{"stellar_periodic_ticks_total", Counter, Process,
		"Ticks of periodic tasks by result: enqueued, missed.", []string{byPeriodic, byResult}, nil},
	{"stellar_periodic_lateness_seconds", Histogram, Process,
		"Time from when ticks were due until they were enqueued.", []string{byPeriodic}, taskSeconds},

	{"stellar_redis_up", Gauge, Process, "1 while Redis has answered the process within the last three seconds.", nil, nil},
	{"stellar_redis_errors_total", Counter, Process, "Failed requests of loops that go on trying, by cause.", []string{"cause"}, nil},
	{"stellar_redis_command_seconds", Histogram, Process,
		"Time of round trips to Redis by script or command, the wait for a connection included.", []string{byOp}, shortSeconds},
	{"stellar_redis_pool_connections", Gauge, Process, "Connections to Redis by state: used, idle.", []string{byState}, nil},
	{"stellar_rpc_client_seconds", Histogram, Process,
		"Time of calls that the process made; code is ok or the error's.", []string{byMethod, byCode}, shortSeconds},
	{"stellar_rpc_server_seconds", Histogram, Process,
		"Time of calls that the process answered; code is ok or the error's.", []string{byMethod, byCode}, shortSeconds},
	{"stellar_rpc_in_flight", Gauge, Process, "Calls at present: that wait for answers (client), or run (server).", []string{"side"}, nil},
	{"stellar_bus_messages_total", Counter, Process,
		"Messages that were sent, or received by a node, by direction: sent, received.", []string{"direction"}, nil},
	{"stellar_bus_dropped_total", Counter, Process,
		"Received messages that were not delivered, by reason; proof and replay may be an attack.", []string{byReason}, nil},
	{"stellar_bus_gaps_total", Counter, Process, "Gaps in the messages that a node received, by reason.", []string{byReason}, nil},
	{"stellar_bus_reconnects_total", Counter, Process, "Subscriptions that were interrupted and are there again.", nil, nil},
	{"stellar_cache_ops_total", Counter, Process,
		"Operations on the cache by result: ok, miss, refused, error.", []string{byOp, byResult}, nil},
	{"stellar_cache_op_seconds", Histogram, Process, "Time of operations on the cache.", []string{byOp}, shortSeconds},
	{"stellar_cache_near_total", Counter, Process,
		"Loads of keys that may be in memory, by result: hit, miss, stale.", []string{byResult}, nil},
	{"stellar_lock_wait_seconds", Histogram, Process, "Time for which callers waited for locks.", nil, shortSeconds},
	{"stellar_lock_hold_seconds", Histogram, Process, "Time for which locks were held.", nil, taskSeconds},
	{"stellar_locks_lost_total", Counter, Process, "Locks that ended before their holder unlocked them.", nil, nil},
	{"stellar_scrape_errors_total", Counter, Process,
		"Parts of the cluster's state that could not be read for a scrape.", []string{"part"}, nil},

	{"stellar_queue_tasks", Gauge, Cluster,
		"Tasks of a queue by state: pending, parked (no node handles them), delayed, active.", []string{byQueue, byState}, nil},
	{"stellar_queue_groups", Gauge, Cluster, "Groups of a queue with pending tasks.", []string{byQueue}, nil},
	{"stellar_queue_oldest_seconds", Gauge, Cluster,
		"For how long the task that is claimed next has been stored; 0 if none waits.", []string{byQueue}, nil},
	{"stellar_queue_paused", Gauge, Cluster, "1 while the queue is paused.", []string{byQueue}, nil},
	{"stellar_queue_resting", Gauge, Cluster,
		"1 while no task of the queue begins, as a handler asked, or its rate lets none begin.", []string{byQueue}, nil},
	{"stellar_queue_bytes", Gauge, Cluster, "Bytes of the tasks of a queue that has a limit on them.", []string{byQueue}, nil},
	{"stellar_queue_limit", Gauge, Cluster,
		"Limits of a queue by kind: concurrency, tasks, bytes, per_group, rate and group_rate in tasks per second.",
		[]string{byQueue, "kind"}, nil},
	{"stellar_queue_claimers", Gauge, Cluster,
		"Live nodes that serve a queue; with quiet true, those that claim nothing now.", []string{byQueue, "quiet"}, nil},
	{"stellar_queue_events_total", Counter, Cluster,
		"Events of tasks since the namespace was first used, by event.", []string{byQueue, "event"}, nil},
	{"stellar_cluster_tasks", Gauge, Cluster, "Tasks of all queues by state: blocked, dead, cancelled.", []string{byState}, nil},
	{"stellar_cluster_nodes", Gauge, Cluster, "Nodes by state; those whose lease has run out are expired.", []string{byState}, nil},
	{"stellar_cluster_processes", Gauge, Cluster, "Processes with live nodes.", nil, nil},
	{"stellar_cluster_slots", Gauge, Cluster, "Slots for tasks of live nodes by state: used, free.", []string{byState}, nil},
	{"stellar_periodic_next_timestamp_seconds", Gauge, Cluster,
		"When a periodic task ticks next; not there while it is paused.", []string{byPeriodic}, nil},
	{"stellar_periodic_last_timestamp_seconds", Gauge, Cluster, "When a periodic task ticked last.", []string{byPeriodic}, nil},
	{"stellar_snapshot_age_seconds", Gauge, Cluster, "Age of the figures of the cluster.", nil, nil},
}

// help returns the help text of a metric.
func (m Metric) help() string {
	if m.Scope == Cluster {
		return m.Help + maxBy
	}
	return m.Help
}
