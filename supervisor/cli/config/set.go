package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/guard"
	"github.com/stellarfw/stellar/worker"
)

// GroupSet is the heading of the set's flags in help texts.
const GroupSet = "The set"

// shutdownTimeout is the variable of --drain. A bare number in it is in milliseconds.
const shutdownTimeout = "STELLAR_SHUTDOWN_TIMEOUT"

// set holds the size of a set and the settings of its nodes.
type set struct {
	Workers      int
	Processes    int // child processes; 0 for a set in this process
	maxMemory    string
	prefix, id   string
	Title        string // title of the process
	concurrency  int
	queues       []string
	Drain, grace time.Duration
	deny         []string
	cluster      bool
}

// SetFlags returns the flags --workers and --concurrency. workers is the default number
// of nodes, and text describes that default in help texts.
func (s *Settings) SetFlags(workers int, text string) []urfave.Flag {
	return []urfave.Flag{
		&urfave.IntFlag{
			Name: "workers", Category: GroupSet, Config: Decimal(), Value: workers, DefaultText: text, Destination: &s.Workers,
			Sources: s.from("workers", "STELLAR_WORKERS"), Usage: "how many nodes to start (`N`); 0 for an idle set",
		},
		&urfave.IntFlag{
			Name: "concurrency", Category: GroupSet, Config: Decimal(), Value: worker.DefaultConcurrency, Destination: &s.concurrency,
			Sources: s.from("concurrency", "STELLAR_CONCURRENCY"), Usage: "how many tasks each node runs at a time (`N`)",
		},
	}
}

// nodeFlags returns the flags of a set beyond [Settings.SetFlags].
func (s *Settings) nodeFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.IntFlag{
			Name: "processes", Category: GroupSet, Config: Decimal(), Destination: &s.Processes,
			Sources: s.from("processes", "STELLAR_PROCESSES"), HideDefault: true,
			Usage: "run the nodes in `P` child processes, each with --workers of them, under a guardian that takes over at once " +
				"from one that dies, and starts it again; 0, the default, for none",
		},
		&urfave.StringFlag{
			Name: "max-memory", Category: GroupSet, Destination: &s.maxMemory, Sources: s.from("max-memory", "STELLAR_MAX_MEMORY"),
			Usage: "replace a child process that needs more memory than `SIZE`, such as 512MiB, before the kernel kills it; 0, the default, " +
				"for no limit",
		},
		&urfave.BoolFlag{
			Name: "cluster", Category: GroupSet, Destination: &s.cluster, Sources: s.from("cluster", "STELLAR_CLUSTER"),
			Usage: "kept from Stellar: every set is one of a cluster", HideDefault: true,
		},
		&urfave.StringFlag{
			Name: "workerPrefix", Aliases: []string{"worker-prefix"}, Category: GroupSet, Value: worker.DefaultPrefix, Destination: &s.prefix,
			Sources: s.from("workerPrefix", "STELLAR_WORKER_PREFIX"),
			Usage:   "`PREFIX` of the nodes' ids, a dash and a free number follow; \"hostname\" means this host's name",
		},
		&urfave.StringFlag{
			Name: "id", Category: GroupSet, Destination: &s.id, Sources: s.from("id", "STELLAR_ID"),
			Usage: "exact `ID` of the node, in a set of one",
		},
		&urfave.StringFlag{
			Name: "title", Category: GroupSet, Destination: &s.Title, Sources: s.from("title", "STELLAR_TITLE"),
			Usage: "`TITLE` of the process, and a field of every log line",
		},
		&urfave.StringSliceFlag{
			Name: "queues", Category: GroupSet, Destination: &s.queues, Sources: s.from("queues", "STELLAR_QUEUES"),
			Config: urfave.StringConfig{TrimSpace: true},
			Usage: "`QUEUES` to serve, separated by commas, the most urgent first or, with weights such as " +
				"\"critical=6,default=3,low\", in that proportion (default: those of the tasks)",
		},
		&urfave.DurationFlag{
			Name: "drain", Category: GroupSet, Value: worker.DefaultDrain, Destination: &s.Drain, Sources: s.from("drain", shutdownTimeout),
			Usage: "how long running tasks may take when the set stops; the variable is in milliseconds (`TIME`)",
		},
		&urfave.DurationFlag{
			Name: "grace", Category: GroupSet, Value: worker.DefaultGrace, Destination: &s.grace, Sources: s.from("grace", "STELLAR_GRACE"),
			Usage: "how long cancelled tasks may take to return after that (`TIME`)",
		},
		&urfave.StringSliceFlag{
			Name: "deny", Category: GroupSet, Destination: &s.deny, Sources: s.from("deny", "STELLAR_DENY"),
			Config: urfave.StringConfig{TrimSpace: true},
			Usage: "`METHODS` that nobody may call on these nodes, separated by commas; * stands for any text: \"api.stop,api.cache.*\". " +
				"It binds calls only: commands that work on Redis itself, such as cache and tasks, do not call",
		},
	}
}

// maxConcurrency is the largest permitted value of --concurrency.
const maxConcurrency = 10_000

func (s *Settings) checkSet(require requirement) {
	require("workers", s.Workers >= 0 && s.Workers <= supervisor.MaxWorkers,
		"%d is not between 0 and %d", s.Workers, supervisor.MaxWorkers)
	require("processes", s.Processes >= 0 && s.Processes <= guard.MaxProcesses,
		"%d is not between 0 and %d", s.Processes, guard.MaxProcesses)
	most, err := s.parseMaxMemory()
	require("max-memory", err == nil, "%w", err)
	require("max-memory", err != nil || most == 0 || most >= leastMemory, "%s is less than a process needs to begin with: use at least %dMiB",
		s.maxMemory, leastMemory>>20)
	require("workerPrefix", supervisor.ValidPrefix(s.prefix),
		"%.220q: use 1 to %d letters, digits and . _ : -, not dashes alone", s.prefix, supervisor.MaxPrefix)
	aSet := s.own["workers"] != nil // without --workers, the command has another flag named concurrency: that of a queue
	require("concurrency", !aSet || s.concurrency >= 1 && s.concurrency <= maxConcurrency,
		"%d is not between 1 and %d", s.concurrency, maxConcurrency)
	_, _, err = parseQueues(s.queues)
	require("queues", err == nil, "%w", err)
	for flag, d := range map[string]time.Duration{"drain": s.Drain, "grace": s.grace} {
		require(flag, d >= time.Millisecond, "%s is too short: use at least 1ms", d)
	}
}

// Set returns the configuration of a set, except for its connection to Redis.
func (s *Settings) Set() (supervisor.Config, error) {
	queues, weights, _ := parseQueues(s.queues) // checkSet has reported the error
	cfg := supervisor.Config{
		Workers: s.Workers, WorkerPrefix: worker.CleanPrefix(s.prefix), ID: s.id, Concurrency: s.concurrency, Queues: queues, Weights: weights,
		Drain: s.Drain, Grace: s.grace, Cache: s.CacheConfig(),
	}
	if s.id != "" {
		if !link.ValidName(s.id) {
			return cfg, s.Problemf("id", "%q: %w", s.id, link.ErrName)
		}
		if s.Origin("workers").Rank == FromDefault {
			cfg.Workers = 1
		}
		if cfg.Workers != 1 {
			return cfg, s.Problemf("id", "it can be given to one node only, not to %d: use --workers 1, or --workerPrefix", cfg.Workers)
		}
	}
	if cfg.Workers == 0 {
		cfg.Workers = supervisor.Idle
	}
	if cfg.WorkerPrefix == "hostname" {
		host, err := os.Hostname()
		if err == nil && !link.ValidName(host) {
			err = fmt.Errorf("%q: %w as the worker prefix", host, link.ErrName)
		}
		if err != nil && s.used("workerPrefix") {
			return cfg, Invalidf("the host's name: %w", err)
		}
		cfg.WorkerPrefix = host
	}
	if !s.used("workerPrefix") && !supervisor.ValidPrefix(cfg.WorkerPrefix) {
		cfg.WorkerPrefix = worker.DefaultPrefix
	}
	return cfg, nil
}

// checkFileLimit returns an error if the set needs more connections to Redis than this
// process may open files.
func (s *Settings) checkFileLimit(limit uint64) error {
	need := supervisor.Connections(s.Workers)
	if s.Workers > supervisor.MaxWorkers || need < 0 || uint64(need) <= limit {
		return nil
	}
	return s.Problemf("workers", "%s need %d connections to Redis (3 for each and 10), and this process may open %d files: "+
		"raise that limit (ulimit -n, LimitNOFILE=), and Redis's maxclients if it is lower, or start fewer nodes",
		link.Count(s.Workers, "node"), need, limit)
}

// parseQueues parses entries of the form NAME or NAME=WEIGHT.
func parseQueues(entries []string) (queues []string, weights map[string]int, err error) {
	var errs []error
	for _, entry := range entries {
		name, text, weighted := strings.Cut(entry, "=")
		switch {
		case !link.ValidName(name):
			errs = append(errs, fmt.Errorf("%q: %w", name, link.ErrName))
		case slices.Contains(queues, name):
			errs = append(errs, fmt.Errorf("%q is there twice", name))
		default:
			queues = append(queues, name)
		}
		if !weighted {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > supervisor.MaxWeight {
			errs = append(errs, fmt.Errorf("%q: use a weight between 1 and %d, such as critical=6", entry, supervisor.MaxWeight))
			continue
		}
		if weights == nil {
			weights = map[string]int{}
		}
		weights[name] = n
	}
	return queues, weights, errors.Join(errs...)
}
