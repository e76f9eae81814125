package cli

import (
	"runtime"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
)

// shutdownTimeout is in milliseconds where it is a bare number.
const shutdownTimeout = "STELLAR_SHUTDOWN_TIMEOUT"

// Groups of flags in the help.
const (
	groupSet   = "The set"
	groupRedis = "Redis"
	groupLog   = "Log"
	groupAdmin = "Health pages"

	groupService = "Service"
)

// settings are the values of all flags; a command uses those that it declares.
type settings struct {
	config string

	workers     int
	cluster     bool
	prefix, id  string
	title       string
	concurrency int
	queues      []string
	drain       time.Duration
	grace       time.Duration

	redisURL, redisHost, redisUser string
	redisPort, redisDB             int
	redisPassFile, tokenFile       string
	redisCA, redisCert, redisKey   string
	sentinelUser, sentinelPassFile string
	alsoFile, tokenMode            string
	deny                           []string
	namespace, socket              string

	compatSettings

	silent              bool
	logLevel, logFormat string
	logFile, pidFile    string

	adminAddr, adminTokenFile string

	output string
}

// runFlags are what "run" takes: everything that the configuration file may
// say is among them.
func (p *program) runFlags() []urfave.Flag {
	in := p.input
	flags := append(p.configFlags(), p.setFlags(runtime.GOMAXPROCS(0), "the number of CPUs")...)
	flags = append(flags,
		&urfave.BoolFlag{
			Name: "cluster", Category: groupSet, Destination: &p.cluster, Sources: in.from("cluster", "STELLAR_CLUSTER"),
			Usage: "kept from Stellar: every set is one of a cluster", HideDefault: true,
		},
		&urfave.StringFlag{
			Name: "workerPrefix", Aliases: []string{"worker-prefix"}, Category: groupSet, Value: worker.DefaultPrefix, Destination: &p.prefix,
			Sources: in.from("workerPrefix", "STELLAR_WORKER_PREFIX"),
			Usage:   "`PREFIX` of the nodes' ids, a free number follows; \"hostname\" means this host's name",
		},
		&urfave.StringFlag{
			Name: "id", Category: groupSet, Destination: &p.id, Sources: in.from("id", "STELLAR_ID"),
			Usage: "exact `ID` of the node, in a set of one",
		},
		&urfave.StringFlag{
			Name: "title", Category: groupSet, Destination: &p.title, Sources: in.from("title", "STELLAR_TITLE"),
			Usage: "`TITLE` of the process, and a field of every log line",
		},
		&urfave.StringSliceFlag{
			Name: "queues", Category: groupSet, Destination: &p.queues, Sources: in.from("queues", "STELLAR_QUEUES"),
			Config: urfave.StringConfig{TrimSpace: true},
			Usage: "`QUEUES` to serve, separated by commas, the most urgent first or, with weights such as " +
				"\"critical=6,default=3,low\", in that proportion (default: those of the tasks)",
		},
		&urfave.DurationFlag{
			Name: "drain", Category: groupSet, Value: worker.DefaultDrain, Destination: &p.drain, Sources: in.from("drain", shutdownTimeout),
			Usage: "how long running tasks may take when the set stops; the variable is in milliseconds (`TIME`)",
		},
		&urfave.DurationFlag{
			Name: "grace", Category: groupSet, Value: worker.DefaultGrace, Destination: &p.grace, Sources: in.from("grace", "STELLAR_GRACE"),
			Usage: "how long cancelled tasks may take to return after that (`TIME`)",
		},
		&urfave.StringSliceFlag{
			Name: "deny", Category: groupSet, Destination: &p.deny, Sources: in.from("deny", "STELLAR_DENY"),
			Config: urfave.StringConfig{TrimSpace: true},
			Usage:  "`METHODS` that nobody may call on these nodes, separated by commas; * stands for any text: \"api.stop,api.cache.*\"",
		},
		&urfave.StringFlag{
			Name: "admin-addr", Category: groupAdmin, Destination: &p.adminAddr, Sources: in.from("admin-addr", "STELLAR_ADMIN_ADDR"),
			Usage: "serve /healthz, /readyz and /status over HTTP on `HOST:PORT`; beyond loopback STELLAR_ADMIN_TOKEN is needed, for /status",
		},
		p.fileFlag(groupAdmin, "admin-token-file", "STELLAR_ADMIN_TOKEN_FILE", &p.adminTokenFile,
			"`FILE` with the token, instead of STELLAR_ADMIN_TOKEN"),
		p.fileFlag(groupService, "pidfile", "STELLAR_PIDFILE", &p.pidFile,
			"`FILE` to write the process number into when all nodes run; it is removed at the end"),
	)
	flags = append(append(flags, p.connectFlags()...), p.compatFlags()...)
	return in.declare(append(flags, p.logFlags("info")...)...)
}

// setFlags are the size of a set.
func (p *program) setFlags(workers int, text string) []urfave.Flag {
	in := p.input
	return []urfave.Flag{
		&urfave.IntFlag{
			Name: "workers", Category: groupSet, Value: workers, DefaultText: text, Destination: &p.workers,
			Sources: in.from("workers", "STELLAR_WORKERS"), Usage: "how many nodes to start, `N`; 0 for an idle set",
		},
		&urfave.IntFlag{
			Name: "concurrency", Category: groupSet, Value: worker.DefaultConcurrency, Destination: &p.concurrency,
			Sources: in.from("concurrency", "STELLAR_CONCURRENCY"), Usage: "how many tasks each node runs at a time, `N`",
		},
	}
}

// fileFlag takes the name of a file; the environment and the configuration file may set it.
func (p *program) fileFlag(group, name, variable string, to *string, usage string) *urfave.StringFlag {
	return &urfave.StringFlag{
		Name: name, Category: group, Destination: to, TakesFile: true, Sources: p.input.from(name, variable), Usage: usage,
	}
}

// configFlags come first: the other flags' sources look into the file.
func (p *program) configFlags() []urfave.Flag {
	return []urfave.Flag{&urfave.StringFlag{
		Name: "config", Destination: &p.config, TakesFile: true, Sources: p.input.fromEnv("config", "STELLAR_CONFIG"),
		Usage: "`FILE` in YAML whose keys are the names of these flags; the environment and flags win over it",
	}}
}

// connectFlags say where Redis, or a running set, is.
func (p *program) connectFlags() []urfave.Flag {
	in := p.input
	return []urfave.Flag{
		&urfave.StringFlag{
			Name: "redis-url", Category: groupRedis, Destination: &p.redisURL, Sources: in.from("redis-url", "REDIS_URL"),
			Usage: "`URL` of Redis: redis://host:6379/0, unix:///path/to/socket, redis+sentinel://host:26379,…/primary/0 " +
				"or redis+cluster://host:6379,…; rediss instead of redis for TLS",
		},
		&urfave.StringFlag{
			Name: "redis-host", Category: groupRedis, Destination: &p.redisHost, Sources: in.from("redis-host", "REDIS_HOST"),
			Usage: "`HOST` of Redis, instead of a URL", DefaultText: "127.0.0.1 if any of the next two is given",
		},
		&urfave.IntFlag{
			Name: "redis-port", Category: groupRedis, Value: 6379, Destination: &p.redisPort, Sources: in.from("redis-port", "REDIS_PORT"),
			Usage: "`PORT` of Redis",
		},
		&urfave.IntFlag{
			Name: "redis-db", Category: groupRedis, Destination: &p.redisDB, Sources: in.from("redis-db", "REDIS_DB"),
			Usage: "number of the Redis database, `N`",
		},
		&urfave.StringFlag{
			Name: "redis-user", Category: groupRedis, Destination: &p.redisUser, Sources: in.from("redis-user", "REDIS_USER"),
			Usage: "`USER` of Redis",
		},
		p.fileFlag(groupRedis, "redis-pass-file", "REDIS_PASS_FILE", &p.redisPassFile,
			"`FILE` with the password of Redis, instead of REDIS_PASS"),
		p.fileFlag(groupRedis, "redis-ca-file", "REDIS_CA_FILE", &p.redisCA,
			"`FILE` in PEM with the authorities that may sign Redis's certificate (default: the system's)"),
		p.fileFlag(groupRedis, "redis-cert-file", "REDIS_CERT_FILE", &p.redisCert,
			"`FILE` in PEM with the certificate to show to Redis"),
		p.fileFlag(groupRedis, "redis-key-file", "REDIS_KEY_FILE", &p.redisKey,
			"`FILE` in PEM with that certificate's key"),
		&urfave.StringFlag{
			Name: "redis-sentinel-user", Category: groupRedis, Destination: &p.sentinelUser,
			Sources: in.from("redis-sentinel-user", "REDIS_SENTINEL_USER"), Usage: "`USER` of the Sentinels themselves",
		},
		p.fileFlag(groupRedis, "redis-sentinel-pass-file", "REDIS_SENTINEL_PASS_FILE", &p.sentinelPassFile,
			"`FILE` with the password of the Sentinels themselves, instead of REDIS_SENTINEL_PASS"),
		p.fileFlag(groupRedis, "token-file", "STELLAR_TOKEN_FILE", &p.tokenFile,
			"`FILE` with the cluster's token, instead of STELLAR_TOKEN (default: one is drawn and kept in Redis)"),
		p.fileFlag(groupRedis, "token-also-file", "STELLAR_TOKEN_ALSO_FILE", &p.alsoFile,
			"`FILE` with a second token to accept, instead of STELLAR_TOKEN_ALSO: to change the token of a running cluster"),
		&urfave.StringFlag{
			Name: "token-mode", Category: groupRedis, Value: string(link.ModeHMAC), Destination: &p.tokenMode,
			Sources: in.from("token-mode", "STELLAR_TOKEN_MODE"),
			Usage:   "`MODE` of proof that a message's sender knows the token: hmac, plain (the token itself, as the original does) or both",
		},
		&urfave.StringFlag{
			Name: "namespace", Category: groupRedis, Value: link.DefaultNamespace, Destination: &p.namespace,
			Sources: in.from("namespace", "STELLAR_NAMESPACE"), Usage: "`NAME` that separates clusters on the same Redis",
		},
		p.fileFlag(groupRedis, "socket", "STELLAR_SOCKET", &p.socket,
			"`FILE` through which commands reach a set on the embedded Redis (default: one in the user's run-time directory)"),
	}
}

func (p *program) logFlags(level string) []urfave.Flag {
	in := p.input
	return []urfave.Flag{
		&urfave.BoolFlag{
			Name: "silent", Category: groupLog, Destination: &p.silent, Sources: in.from("silent", "STELLAR_SILENT"),
			Usage: "log errors only", HideDefault: true,
		},
		&urfave.StringFlag{
			Name: "log-level", Category: groupLog, Value: level, Destination: &p.logLevel, Sources: in.from("log-level", "STELLAR_LOG_LEVEL"),
			Usage: "the least urgent `LEVEL` to log: trace, debug, info, warn, error or off",
		},
		&urfave.StringFlag{
			Name: "log-format", Category: groupLog, Value: "auto", Destination: &p.logFormat, Sources: in.from("log-format", "STELLAR_LOG_FORMAT"),
			Usage: "`FORMAT` json, console, or auto: console on a terminal and json elsewhere",
		},
		p.fileFlag(groupLog, "log-file", "STELLAR_LOG_FILE", &p.logFile,
			"append the log to `FILE` instead of standard error; when the file is moved, a new one is made"),
	}
}

// commandFlags are those of the commands that talk to a running set.
func (p *program) commandFlags(own ...urfave.Flag) []urfave.Flag {
	own = append(own, p.outputFlag())
	return p.input.declare(append(append(own, p.configFlags()...), p.connectFlags()...)...)
}

func (p *program) outputFlag() *urfave.StringFlag {
	return &urfave.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: "table", Destination: &p.output, Sources: p.input.fromEnv("output"),
		Usage: "`FORMAT` of the output: table, or json for scripts",
	}
}
