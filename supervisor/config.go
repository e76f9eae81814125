package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

// MaxWorkers is the most nodes of one set: as many as start, and come back after an outage,
// within 15 s on two cores that have nothing else to do (see BenchmarkMostNodes in
// internal_test/bench). With the embedded Redis that is 8 s and 11 s of CPU time.
const MaxWorkers = 5000

// Connections returns how many connections to Redis a set of that many nodes has at rest:
// three for each node, and a few that they share.
func Connections(workers int) int { return 3*workers + 10 }

// MaxPrefix is the most bytes of a worker prefix: it leaves room for the number in an
// id of 200 bytes.
const MaxPrefix = 190

// MaxWeight is the largest weight of a queue.
const MaxWeight = 1000

// Guardian operates all processes of a guardian as one set. Package guard implements it.
type Guardian interface {
	// Begin begins an operation of a kind of those of package builtin, and does not wait for its end.
	Begin(kind string) error
	// Operation returns the present or last operation; nil before the first.
	Operation() *builtin.Operation
}

// Config configures a [Set]. Only Redis is required.
type Config struct {
	// Workers is how many nodes to start. Default GOMAXPROCS; [Idle] starts none.
	Workers int
	// WorkerPrefix is the prefix of the nodes' ids; a dash and the lowest free number in the
	// cluster follow. Dashes at its end count for nothing: "app" and "app-" are the same.
	// Default "stellar-worker".
	WorkerPrefix string
	// ID is the exact id of the node, for a set of one node.
	ID string
	// Redis configures the connection to Redis. Required.
	Redis link.Config
	// StartTimeout is how long [Set.Serve] waits for Redis before it gives up. Default 5 s.
	StartTimeout time.Duration

	// Concurrency is how many tasks each node runs at a time. Default 10.
	Concurrency int
	// Queues that the nodes serve, the most urgent first. Default those of the app.
	Queues []string
	// Weights of the queues, 1 to [MaxWeight], replace their strict order: when a node
	// claims, a queue of weight 6 comes first twice as often as a queue of weight 3, and no
	// queue is starved. The default weight is 1.
	Weights map[string]int

	// Drain is how long stopping nodes, all in parallel, wait for their handlers. Then the
	// handlers are cancelled and have the time Grace to return. Default 20 s and 3 s.
	Drain, Grace time.Duration

	// Backoff is the pause before a crashed node's next life. It doubles with
	// each crash up to MaxBackoff, with jitter between half and all of it, and
	// starts over after a life of at least a minute. Default 100 ms and 30 s.
	Backoff, MaxBackoff time.Duration
	// CrashLimit is how many crashes within CrashWindow the set survives; one more stops
	// it. Default twice the number of nodes that should run at the time, at least 4, in
	// 30 s; negative for no limit.
	CrashLimit  int
	CrashWindow time.Duration

	// ReadyTime is how long a node may take to run again in a rolling restart or a reload;
	// after that time the operation fails. Default 30 s.
	ReadyTime time.Duration
	// ZombieLimit is how many handlers may outlive their nodes, in this process,
	// before its nodes claim no more tasks and the set is unhealthy. Default
	// worker.DefaultZombieLimit, 100; negative for no limit.
	ZombieLimit int

	// Cache configures the nodes' access to the cluster's cache.
	Cache worker.CacheConfig

	// Observer, when set, is notified of the events of the nodes.
	Observer worker.Observer

	// Program is the program's name in the member records: where Redis.Namespace is empty, a
	// log line at the start tells of the nodes of programs with other names. Default: the last
	// element of the main module's path in the build information.
	Program string
	// Version is the program's version in the member records. Default: the version of the
	// main module in the build information.
	Version string

	// Ended, when set, is called for each life of a node that has ended. It must not block.
	Ended func(worker.Ended)

	// Guarded is the place of this process under a guardian.
	Guarded membership.Guarded
	// Guardian carries out a rolling restart and an upgrade in place of the set. Nil for none.
	Guardian Guardian

	// Times are the timings of leases.
	Times membership.Times
}

// Idle as the value of [Config].Workers starts a set without nodes, to be scaled later.
const Idle = -1

func (c Config) withDefaults() Config {
	switch c.Workers {
	case 0:
		c.Workers = runtime.GOMAXPROCS(0)
	case Idle:
		c.Workers = 0
	}
	c.WorkerPrefix = cmp.Or(worker.CleanPrefix(c.WorkerPrefix), c.WorkerPrefix, worker.DefaultPrefix)
	c.StartTimeout = cmp.Or(c.StartTimeout, 5*time.Second)
	c.Drain = cmp.Or(c.Drain, worker.DefaultDrain)
	c.Grace = cmp.Or(c.Grace, worker.DefaultGrace)
	c.Backoff = cmp.Or(c.Backoff, 100*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 30*time.Second)
	c.CrashWindow = cmp.Or(c.CrashWindow, 30*time.Second)
	c.ReadyTime = cmp.Or(c.ReadyTime, 30*time.Second)
	return c
}

// ValidPrefix reports whether a text can be a worker prefix.
func ValidPrefix(prefix string) bool {
	prefix = worker.CleanPrefix(prefix)
	return link.ValidName(prefix) && len(prefix) <= MaxPrefix
}

// Validate reports everything that is wrong with the configuration at once, as [New] does.
func (c Config) Validate() error { return c.withDefaults().validate() }

// validate reports everything that is wrong with a config that has its defaults.
func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Workers >= 0 && c.Workers <= MaxWorkers, "workers: %d is not between 0 and %d", c.Workers, MaxWorkers)
	check(ValidPrefix(c.WorkerPrefix),
		"worker prefix %q: use 1 to %d letters, digits and . _ : -, not dashes alone", c.WorkerPrefix, MaxPrefix)
	if c.ID != "" {
		errs = append(errs, link.CheckName("id", c.ID))
		check(c.Workers == 1, "id %q: it can be given to one worker only, not to %d; leave it out, or use the worker prefix", c.ID, c.Workers)
	}
	check(c.Concurrency >= 0, "concurrency: %d is negative", c.Concurrency)
	for _, q := range c.Queues {
		errs = append(errs, link.CheckName("queue", q))
	}
	for q, weight := range c.Weights {
		check(len(c.Queues) == 0 || slices.Contains(c.Queues, q), "weight of queue %q: it is not among the queues", q)
		check(weight >= 1 && weight <= MaxWeight, "weight of queue %q: %d is not between 1 and %d", q, weight, MaxWeight)
	}
	for name, d := range map[string]time.Duration{
		"start timeout": c.StartTimeout, "drain": c.Drain, "grace": c.Grace, "backoff": c.Backoff,
		"max backoff": c.MaxBackoff, "crash window": c.CrashWindow, "ready time": c.ReadyTime,
	} {
		check(d > 0, "%s: %s is not positive", name, d)
	}
	for name, d := range map[string]time.Duration{"lease": c.Times.Lease, "heartbeat": c.Times.Heartbeat, "fence": c.Times.Fence} {
		check(d == 0 || d >= time.Millisecond, "times: %s: %s is too short: use at least 1ms", name, d)
	}
	return errors.Join(append(errs, c.Redis.Validate(), c.Cache.Validate())...)
}
