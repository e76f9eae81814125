package link

import "strconv"

// Keys names everything that one namespace holds on Redis. All keys share the
// hash tag {namespace}, so that they live on one node of a Redis Cluster and a
// script may touch several of them. Channels are not keys: Redis does not separate them by
// database, so their names hold the namespace and the number of any database but 0.
type Keys struct{ namespace, tag, database, channel string }

// NewKeys returns the names of a namespace, which [Config] has validated, in database 0.
func NewKeys(namespace string) Keys {
	return Keys{namespace: namespace, tag: "{" + namespace + "}:", channel: namespace}
}

// in returns the names of the namespace in that database. With plain, the channel of all nodes
// keeps its name, on which other implementations listen.
func (k Keys) in(database int, plain bool) Keys {
	if database != 0 {
		k.database = "db" + strconv.Itoa(database)
		if !plain {
			k.channel = k.base()
		}
	}
	return k
}

// base is what the names of all channels begin with.
func (k Keys) base() string {
	if k.database == "" {
		return k.namespace
	}
	return k.namespace + ":" + k.database
}

// Namespace returns the namespace.
func (k Keys) Namespace() string { return k.namespace }

// TaskKeys returns the KEYS of the scripts of the task queue. From the first they derive all
// names. A second one, of which there is no value, names a database other than 0.
func (k Keys) TaskKeys() []string {
	if k.database == "" {
		return []string{k.Tasks()}
	}
	return []string{k.Tasks(), k.tag + k.database}
}

// Prefix is what every key of the namespace starts with.
func (k Keys) Prefix() string { return k.tag }

// Channel is the broadcast channel: every node of the cluster listens there.
func (k Keys) Channel() string { return k.channel }

// Inbox is the channel of one node, for calls and replies addressed to it alone.
func (k Keys) Inbox(node string) string { return k.base() + ":inbox:" + node }

// Beacon is a channel that every bus subscribes to. One bus sends an empty message there
// when no other messages come, so that every bus can tell a dead connection from a quiet
// one. The messages carry nothing, so they need no proof.
func (k Keys) Beacon() string { return k.base() + ":beacon" }

// Wake is the channel on which enqueuers wake one idle incarnation. The messages carry
// nothing, so they need no proof: at worst a forged message causes an empty claim.
func (k Keys) Wake(incarnation string) string { return k.base() + ":wake:" + incarnation }

// Ended is the channel on which the end of a task is announced to its waiters.
func (k Keys) Ended(id string) string { return k.base() + ":ended:" + id }

// Due is the channel on which a new earliest delayed task is announced to the mover that is
// responsible.
func (k Keys) Due() string { return k.base() + ":due" }

// Look is the channel on which all movers are asked to look at once: a running task is to be
// cancelled, or the responsible mover has ended.
func (k Keys) Look() string { return k.base() + ":look" }

// Set is the channel on which all tickers are asked to look at once: a periodic task or the defaults of a
// queue were set.
func (k Keys) Set() string { return k.base() + ":set" }

// Program is the channel to which one program listens while it runs. Nothing is sent there: whether anybody listens
// tells whether it runs.
func (k Keys) Program(id string) string { return k.base() + ":program:" + id }

// Token holds the cluster's random bus token, where no token is configured (string).
func (k Keys) Token() string { return k.tag + "token" }

// Snapshot holds a snapshot of the cluster, when it was taken, and when somebody last began to take one (hash,
// times in milliseconds): see lua/snapshot.lua of the package queue.
func (k Keys) Snapshot() string { return k.tag + "snapshot" }

// Layout holds the version of the namespace's data layout (string, integer): see [Layout].
func (k Keys) Layout() string { return k.tag + "layout" }

// Epoch counts incarnations (string, integer).
func (k Keys) Epoch() string { return k.tag + "epoch" }

// Numbers marks the numbers that node ids with a worker prefix use, such as 2 in
// "stellar-worker-2" (string, a bitmap).
func (k Keys) Numbers(workerPrefix string) string { return k.tag + "numbers:" + workerPrefix }

// Members maps a node id to its member record (hash, JSON values).
func (k Keys) Members() string { return k.tag + "members" }

// Leases maps an incarnation to its lease's deadline (sorted set, milliseconds on Redis's clock).
func (k Keys) Leases() string { return k.tag + "leases" }

// Reaping holds when a process last looked for expired leases, when one last looked for
// leases that end too late, and until when no incarnation may be taken over because no
// process had looked for a while (hash).
func (k Keys) Reaping() string { return k.tag + "reaping" }

// Aliens counts by key how often scripts have met an entry there that is not ours, and have
// passed over or replaced it (hash, integers).
func (k Keys) Aliens() string { return k.tag + "aliens" }

// Connections maps a client connection's id to the incarnation that holds it (hash).
func (k Keys) Connections() string { return k.tag + "connections" }

// ConnectionsOf holds the client connections of one incarnation (set of ids).
func (k Keys) ConnectionsOf(incarnation string) string {
	return k.tag + "connections:" + incarnation
}

// Cache is the entry of a cache key (string) or list. It is also the channel on
// which a list's first item is announced to its waiters.
func (k Keys) Cache(key string) string { return k.tag + "cache:" + key }

// CachePrefix is [Keys.Cache] without the key, to scan by.
func (k Keys) CachePrefix() string { return k.tag + "cache:" }

// Lock is the lock of a cache key (string), and the channel on which its end is
// announced to its waiters.
func (k Keys) Lock(key string) string { return k.tag + "lock:" + key }

// LockPrefix is [Keys.Lock] without the key, to scan by.
func (k Keys) LockPrefix() string { return k.tag + "lock:" }

// Loader is the lock that the caller holds which computes a missing cache value for all
// callers (string, as [Keys.Lock]).
func (k Keys) Loader(key string) string { return k.tag + "loader:" + key }

// LocksOf holds the locks of one incarnation (set of key names).
func (k Keys) LocksOf(incarnation string) string { return k.tag + "locks:" + incarnation }

// Clock holds the last fence or version that was issued (string, microseconds).
func (k Keys) Clock() string { return k.tag + "clock" }

// Tasks maps a task's id to its record, as it was enqueued (hash). The scripts of
// the task queue derive the names of all the following keys from this key's name.
func (k Keys) Tasks() string { return k.tag + "tasks" }

// Queue holds the pending task ids of one line (list; the right end is served first). A
// queue "images" has the lines "images", "images^" for its urgent tasks, and "images~"
// for its tasks of low priority.
func (k Keys) Queue(line string) string { return k.tag + "queue:" + line }

// QueueDefaults maps a queue to what its tasks get that their options do not set (hash, JSON values).
func (k Keys) QueueDefaults() string { return k.tag + "defaults" }

// Queues is the set of queues that were ever used.
func (k Keys) Queues() string { return k.tag + "queues" }

// Settings maps a queue to its settings in force, "1 when paused|tasks at a time|
// tasks|bytes", and "queue|program" and "queue|operator" to the settings of the program
// and those of the operator (hash).
func (k Keys) Settings() string { return k.tag + "settings" }

// Active maps a queue to how many of its tasks nodes have claimed (hash).
func (k Keys) Active() string { return k.tag + "active" }

// Bytes maps a queue to the bytes of its tasks' records and bodies, if the queue bounds them (hash).
func (k Keys) Bytes() string { return k.tag + "bytes" }

// Bodies maps the id of a task whose payload has a key of its own to "name|bytes" of it (hash).
func (k Keys) Bodies() string { return k.tag + "bodies" }

// Body is a payload that has a key of its own, with an expiry as long as no task is stored
// that has it (string). See lua/bodies.lua of the package queue.
func (k Keys) Body(name string) string { return k.tag + "body:" + name }

// Weighing maps a queue that has got a bound on bytes to how far it has been weighed (hash).
func (k Keys) Weighing() string { return k.tag + "weighing" }

// Weighed holds the tasks of a queue whose bytes count already, while it is weighed (set).
func (k Keys) Weighed(queue string) string { return k.tag + "weighed:" + queue }

// Idle is the set of incarnations that wait for work of a queue, among those that name their
// queues in claims.
func (k Keys) Idle(queue string) string { return k.tag + "idle:" + queue }

// Tended says who tends queues, by queue (hash, '<until, ms on Redis's clock>|<incarnation>'):
// see lua/work.lua of the package queue.
func (k Keys) Tended() string { return k.tag + "tended" }

// Serves is a stored list of queues: see lua/serve.lua of the package queue (sorted set, the
// ranks or weights of the queues).
func (k Keys) Serves(list string) string { return k.tag + "serves:" + list }

// Lists maps a queue to the stored lists that have it (hash, each followed by a space).
func (k Keys) Lists() string { return k.tag + "lists" }

// Idlers is the set of incarnations that wait for work of the queues of a stored list.
func (k Keys) Idlers(list string) string { return k.tag + "idlers:" + list }

// Delayed holds the ids of a queue's tasks that are not due yet (sorted set, due
// time in milliseconds).
func (k Keys) Delayed(queue string) string { return k.tag + "delayed:" + queue }

// Parked holds the pending task ids of one queue and task name that a node claimed and
// put back because it has no handler for that name (list).
func (k Keys) Parked(queue, task string) string { return k.tag + "parked:" + queue + "|" + task }

// ParkedLists is the set of the "queue|task name" that have parked tasks.
func (k Keys) ParkedLists() string { return k.tag + "parked" }

// Owned maps the ids of the tasks that an incarnation has claimed to "claim|ms": the number
// of the claim, and its time on Redis's clock (hash).
func (k Keys) Owned(incarnation string) string { return k.tag + "owned:" + incarnation }

// Stream is an incarnation's session: the numbers and replies of its last claim and
// its last commit, so that either can be sent again, the queues that it serves,
// or their stored list, whether it is quiet, and which suspect it runs (hash).
func (k Keys) Stream(incarnation string) string { return k.tag + "stream:" + incarnation }

// Producer holds the largest batch number that Redis has seen from a producer of tasks,
// and the outcomes of the batches that the producer still waits for (string).
func (k Keys) Producer(producer string) string { return k.tag + "producer:" + producer }

// Unique maps a unique key to the id of the task that holds it (hash).
func (k Keys) Unique() string { return k.tag + "unique" }

// UniqueUntil holds the unique keys that stay taken until a fixed time, whatever becomes
// of their task (sorted set, milliseconds).
func (k Keys) UniqueUntil() string { return k.tag + "unique:until" }

// Deadlines holds the tasks that wait and have a deadline (sorted set, milliseconds on
// Redis's clock).
func (k Keys) Deadlines() string { return k.tag + "deadlines" }

// Blocked maps a task's id to how many tasks must be done before that task (hash).
func (k Keys) Blocked() string { return k.tag + "blocked" }

// Followers maps a task's id to the ids of the tasks that wait for it (hash, separated by
// spaces; full pages in "id|1", "id|2", …, and their number in "id|"). See [Keys.Blocked].
func (k Keys) Followers() string { return k.tag + "followers" }

// Waiting holds the ids of tasks that have waiters (hash).
func (k Keys) Waiting() string { return k.tag + "waiting" }

// Cancelling maps the id of a running task that is to be cancelled to why (hash, JSON values).
func (k Keys) Cancelling() string { return k.tag + "cancelling" }

// Progress maps a running task's id to its reported progress (hash, JSON values).
func (k Keys) Progress() string { return k.tag + "progress" }

// Steps is the hash of the steps of one task, see lua/step.lua.
func (k Keys) Steps(id string) string { return k.tag + "steps:" + id }

// Stepped is the hash of the results of the steps of one task, and of its last state (JSON values).
func (k Keys) Stepped(id string) string { return k.tag + "stepped:" + id }

// Groups holds the groups of a queue with tasks in their lines (sorted set, the turn of each, see
// lua/turns.lua).
func (k Keys) Groups(queue string) string { return k.tag + "groups:" + queue }

// Grouped counts the tasks in the lines of groups, by queue (hash).
func (k Keys) Grouped() string { return k.tag + "grouped" }

// Halted is the set of the groups that are paused, as "queue/group".
func (k Keys) Halted() string { return k.tag + "halted" }

// Resting holds the queues, and groups as "queue/group", that rest for a time (sorted set, until
// when in milliseconds).
func (k Keys) Resting() string { return k.tag + "resting" }

// Rates holds the queues and groups that have spent tokens of their rates (sorted set, when they have
// all again, in microseconds).
func (k Keys) Rates() string { return k.tag + "rates" }

// Refills holds the queues and groups that wait for tokens (sorted set, when the next comes, in
// milliseconds).
func (k Keys) Refills() string { return k.tag + "refills" }

// Held counts the tasks that hold a strict group until their next run, by group (hash).
func (k Keys) Held() string { return k.tag + "held" }

// Holders maps the ids of these tasks to the groups (hash).
func (k Keys) Holders() string { return k.tag + "holders" }

// Returned maps the ids of tasks that were claimed and have not run to their order (hash).
func (k Keys) Returned() string { return k.tag + "returned" }

// StepBytes is the hash of how many bytes the steps of each task have.
func (k Keys) StepBytes() string { return k.tag + "steps" }

// Periodic maps a periodic task to "last tick|1 when paused" (hash, milliseconds), and
// "name|queue|task name" to the id of its tick that is parked in that list, if there is one. Until
// a tick of the task has run, the first value begins with a zero.
func (k Keys) Periodic() string { return k.tag + "periodic" }

// Mover names the mover that is responsible, "promise|id": it has promised to look again until
// then, in milliseconds on Redis's clock (string).
func (k Keys) Mover() string { return k.tag + "mover" }

// Ready is the set of queues that have tasks in a line, and perhaps some more.
func (k Keys) Ready() string { return k.tag + "ready" }

// Next holds the queues with delayed tasks, and perhaps some more (sorted set, in milliseconds:
// no task of the queue is due before that).
func (k Keys) Next() string { return k.tag + "next" }

// Registered maps a periodic task to when a program that registers it last ran (hash,
// milliseconds).
func (k Keys) Registered() string { return k.tag + "periodic:registered" }

// Programs maps a program that registers periodic tasks to "when it last said so|name name …" (hash, milliseconds).
func (k Keys) Programs() string { return k.tag + "periodic:programs" }

// PeriodicSet maps a periodic task that was set at run time to its definition (hash, JSON values).
func (k Keys) PeriodicSet() string { return k.tag + "periodic:set" }

// PeriodicHistory maps a periodic task to its last ticks (hash; a line "tick|when|what" for
// each, in milliseconds, the oldest first).
func (k Keys) PeriodicHistory() string { return k.tag + "periodic:history" }

// Definitions maps a periodic task to its definition (hash, JSON values).
func (k Keys) Definitions() string { return k.tag + "periodic:definitions" }

// TaskDefinitions maps a task's name to its definition (hash; its form is in defining.lua).
func (k Keys) TaskDefinitions() string { return k.tag + "definitions" }

// Tries maps a task's id to "attempts|crashes", once it has had an attempt or a crash
// (hash).
func (k Keys) Tries() string { return k.tag + "tries" }

// History maps a task's id to its events, one on each line (hash).
func (k Keys) History() string { return k.tag + "history" }

// Dead holds the ids of dead tasks (sorted set, time of death in milliseconds).
func (k Keys) Dead() string { return k.tag + "dead" }

// Cancelled holds the ids of cancelled tasks (sorted set, the time of the cancellation in
// milliseconds).
func (k Keys) Cancelled() string { return k.tag + "cancelled" }

// Reasons maps a dead or cancelled task's id to why the task is dead or cancelled (hash,
// JSON values).
func (k Keys) Reasons() string { return k.tag + "reasons" }

// Done holds the ids of completed tasks that are remembered for longer than their records are kept
// (sorted set, the time in milliseconds until which each is remembered). Older programs have the
// ids of all completed tasks here.
func (k Keys) Done() string { return k.tag + "done" }

// Kept holds the ids of completed tasks whose result, or in older programs also the record, is kept
// for another time than [Keys.Done] says (sorted set, the time in milliseconds until which each
// is kept).
func (k Keys) Kept() string { return k.tag + "kept" }

// Retained lists the ids of completed tasks whose records are kept until a time, and perhaps some
// more (list, the last to end on the right). The time is in milliseconds, in base 16.
func (k Keys) Retained(until string) string { return k.tag + "retained:" + until }

// RetainedLists holds the times of the lists of [Keys.Retained] (sorted set, the same times as
// scores).
func (k Keys) RetainedLists() string { return k.tag + "retained" }

// Results maps a completed task's id to its result (hash).
func (k Keys) Results() string { return k.tag + "results" }

// Events is the timeline of the cluster: see the package timeline (stream).
func (k Keys) Events() string { return k.tag + "events" }

// Versions maps a program to the version of the process of it that joined last (hash).
func (k Keys) Versions() string { return k.tag + "events:versions" }

// Charts holds the bytes of the hashes of the task runs by minute and by quarter of an hour, whose
// names continue its own: see the package history (sorted set).
func (k Keys) Charts() string { return k.tag + "charts" }

// Charted holds the "queue|name" in these hashes (sorted set, minutes since 1970).
func (k Keys) Charted() string { return k.tag + "charts:names" }

// Stats counts events of tasks, "queue|event" (hash, integers), and keeps how fast
// the tasks were, "queue|speed".
func (k Keys) Stats() string { return k.tag + "stats" }
