package redisbus

// Keys names everything that one namespace holds on Redis. All keys share the
// hash tag {namespace}, so that they live on one node of a Redis Cluster and a
// script may touch several of them. Channels are not keys: Redis does not
// separate them by database, the namespace does.
type Keys struct{ namespace, tag string }

// NewKeys returns the names of a namespace, which [Config] has validated.
func NewKeys(namespace string) Keys {
	return Keys{namespace: namespace, tag: "{" + namespace + "}:"}
}

// Prefix is what every key of the namespace starts with.
func (k Keys) Prefix() string { return k.tag }

// Channel is the broadcast channel: every node of the cluster listens there.
func (k Keys) Channel() string { return k.namespace }

// Inbox is the channel of one node, for calls and replies addressed to it alone.
func (k Keys) Inbox(node string) string { return k.namespace + ":inbox:" + node }

// Beacon is the channel that every bus hears and that one of them sends to when
// nothing else is heard, so that a dead connection shows. Its messages carry
// nothing: a forged one says as much as a real one.
func (k Keys) Beacon() string { return k.namespace + ":beacon" }

// Wake is the channel of one incarnation on which enqueuers wake it when it is
// idle. Its messages carry nothing, so they carry no proof: the worst a forged
// one does is one empty claim.
func (k Keys) Wake(incarnation string) string { return k.namespace + ":wake:" + incarnation }

// WakePrefix is [Keys.Wake] without the incarnation, for scripts that wake whom they find idle.
func (k Keys) WakePrefix() string { return k.namespace + ":wake:" }

// Due is the channel on which an enqueuer announces a new earliest delayed task.
func (k Keys) Due() string { return k.namespace + ":due" }

// Token holds the cluster's generated bus token where none is configured (string).
func (k Keys) Token() string { return k.tag + "token" }

// Epoch counts incarnations (string, integer).
func (k Keys) Epoch() string { return k.tag + "epoch" }

// Numbers marks the taken numbers of a worker prefix (string, a bitmap).
func (k Keys) Numbers(workerPrefix string) string { return k.tag + "numbers:" + workerPrefix }

// Members maps a node id to its member record (hash, JSON values).
func (k Keys) Members() string { return k.tag + "members" }

// Leases maps an incarnation to its lease's deadline (sorted set, milliseconds on Redis's clock).
func (k Keys) Leases() string { return k.tag + "leases" }

// Reaping holds when somebody last looked for expired leases, and until when
// nobody may take over after a time in which nobody could look (hash).
func (k Keys) Reaping() string { return k.tag + "reaping" }

// Connections maps a client connection's id to the incarnation that holds it (hash).
func (k Keys) Connections() string { return k.tag + "connections" }

// ConnectionsOf holds the client connections of one incarnation (set of ids).
func (k Keys) ConnectionsOf(incarnation string) string {
	return k.tag + "connections:" + incarnation
}

// Cache is the entry of a cache key (string) or list. It is also the channel on
// which a list's first item is announced to who waits for it.
func (k Keys) Cache(key string) string { return k.tag + "cache:" + key }

// CachePrefix is [Keys.Cache] without the key, to scan by.
func (k Keys) CachePrefix() string { return k.tag + "cache:" }

// Lock is the lock of a cache key (string), and the channel on which its end is
// announced to who waits for it.
func (k Keys) Lock(key string) string { return k.tag + "lock:" + key }

// LockPrefix is [Keys.Lock] without the key, to scan by.
func (k Keys) LockPrefix() string { return k.tag + "lock:" }

// Loader is held by who computes the value of a cache key on behalf of all who
// miss it (string, as [Keys.Lock]).
func (k Keys) Loader(key string) string { return k.tag + "loader:" + key }

// LocksOf holds the locks of one incarnation (set of key names).
func (k Keys) LocksOf(incarnation string) string { return k.tag + "locks:" + incarnation }

// Clock holds the last fence or version that was given out (string, microseconds).
func (k Keys) Clock() string { return k.tag + "clock" }

// Tasks maps a task's id to its record, as it was enqueued (hash).
func (k Keys) Tasks() string { return k.tag + "tasks" }

// Queue is the line of pending task ids (list; the right end is served first).
func (k Keys) Queue(queue string) string { return k.tag + "queue:" + queue }

// QueuePrefix is [Keys.Queue] without the queue, for scripts that read the queue off a record.
func (k Keys) QueuePrefix() string { return k.tag + "queue:" }

// Queues is the set of queues that were ever used.
func (k Keys) Queues() string { return k.tag + "queues" }

// Idle is the set of incarnations that wait for work of a queue.
func (k Keys) Idle(queue string) string { return k.tag + "idle:" + queue }

// IdlePrefix is [Keys.Idle] without the queue.
func (k Keys) IdlePrefix() string { return k.tag + "idle:" }

// Delayed holds the ids of tasks that are not due yet (sorted set, due time in milliseconds).
func (k Keys) Delayed() string { return k.tag + "delayed" }

// Parked holds the pending ids of one task name that the node which claimed
// them does not handle (list).
func (k Keys) Parked(task string) string { return k.tag + "parked:" + task }

// ParkedPrefix is [Keys.Parked] without the name.
func (k Keys) ParkedPrefix() string { return k.tag + "parked:" }

// ParkedNames is the set of task names with parked tasks.
func (k Keys) ParkedNames() string { return k.tag + "parked" }

// Owned maps the ids of the tasks that an incarnation has in hand to the claim
// that brought them (hash).
func (k Keys) Owned(incarnation string) string { return k.tag + "owned:" + incarnation }

// OwnedPrefix is [Keys.Owned] without the incarnation.
func (k Keys) OwnedPrefix() string { return k.tag + "owned:" }

// Stream holds the numbers and replies of an incarnation's last claim and last
// commit (hash), so that either can be sent again.
func (k Keys) Stream(incarnation string) string { return k.tag + "stream:" + incarnation }

// StreamPrefix is [Keys.Stream] without the incarnation.
func (k Keys) StreamPrefix() string { return k.tag + "stream:" }

// Producer holds the number of a producer's last accepted batch of tasks and
// what was answered to it (string).
func (k Keys) Producer(producer string) string { return k.tag + "producer:" + producer }

// Periodic maps a periodic task to "last tick|1 when paused" (hash, milliseconds).
func (k Keys) Periodic() string { return k.tag + "periodic" }

// Tries maps a task's id to "attempts|crashes", for tasks that have any (hash).
func (k Keys) Tries() string { return k.tag + "tries" }

// Dead holds the ids of dead tasks (sorted set, time of death in milliseconds).
func (k Keys) Dead() string { return k.tag + "dead" }

// Reasons maps a dead task's id to why it died (hash, JSON values).
func (k Keys) Reasons() string { return k.tag + "dead:reasons" }

// Done holds the ids of completed tasks that are remembered (sorted set, the
// time in milliseconds until which they are).
func (k Keys) Done() string { return k.tag + "done" }

// Results maps a completed task's id to its result (hash).
func (k Keys) Results() string { return k.tag + "results" }

// Stats counts what happened to tasks (hash, integers).
func (k Keys) Stats() string { return k.tag + "stats" }
