package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// Defaults of the demo.
const (
	defaultWorkers    = 4
	defaultCrashEvery = 250 * time.Millisecond
)

// Commands returns the command demo.
func Commands(e *cluster.Env) []*urfave.Command {
	var crashEvery time.Duration
	var steps bool
	every := &urfave.DurationFlag{
		Name: "crash-every", Category: config.GroupSet, Value: defaultCrashEvery, Destination: &crashEvery,
		Usage: "crash a random node that often, 0 for never (`TIME`)",
	}
	inSteps := &urfave.BoolFlag{
		Name: "steps", Category: config.GroupSet, Destination: &steps, HideDefault: true,
		Usage: "count all files in one task with a checkpoint after each, and crash its node",
	}
	return []*urfave.Command{{
		Name: "demo", Usage: "count the words of a source tree on nodes that crash, and check the sums", ArgsUsage: "[DIR]",
		Description: "Every regular text file under DIR (default: the Go source tree) becomes a task; its lines, words and bytes\n" +
			"are added up in the cluster's cache while random nodes crash. At the end the sums are compared with a direct\n" +
			"count of the same files: if they differ the exit code is 1. Files count as text if their first 8 KiB hold no\n" +
			"NUL byte and are valid UTF-8; symbolic links are not followed. It uses a namespace of its own and removes it.\n" +
			"With --steps one task counts all files: after each crash it goes on behind its last checkpoint.",
		Flags: e.Declare(slices.Concat(
			e.SetFlags(defaultWorkers, strconv.Itoa(defaultWorkers)), []urfave.Flag{every, inSteps}, e.ConnectFlags(),
			[]urfave.Flag{e.DurabilityFlag()}, e.LogFlags("off"),
		)...),
		ArgValidator: config.Arguments(0, 1, "[DIR]"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			return runCommand(ctx, e, Config{CrashEvery: crashEvery, Steps: steps}, args)
		}),
	}}
}

// runCommand is the action of the command demo: it completes the [Config] and calls [Run].
func runCommand(ctx context.Context, e *cluster.Env, c Config, args []string) (err error) {
	if c.CrashEvery < 0 {
		return config.Usagef("--crash-every: %s is negative", c.CrashEvery)
	}
	if e.Workers == 0 {
		return config.Usagef("--workers: the demo needs at least one node")
	}
	dir, err := directory(ctx, e, args)
	if err != nil {
		return err
	}
	set, err := e.Set()
	if err != nil {
		return err
	}
	log, err := e.Logger()
	if err != nil {
		return err
	}
	redis, configured, err := e.Redis()
	if err != nil {
		return err
	}
	where := redis.Address()
	if !configured {
		own, err := startRedis(ctx, e, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, own.end()) }()
		redis.URL, redis.Dial, where = own.config.URL, own.config.Dial, own.where
	}
	redis.Namespace = fmt.Sprintf("%.180s-demo-%s", e.Namespace, strings.ToLower(rand.Text()[:12]))
	set.Redis = redis
	crashes := "no node is crashed"
	if c.CrashEvery > 0 {
		which := "a random one"
		if c.Steps {
			which = "the one at work"
		}
		crashes = fmt.Sprintf("%s is crashed every %s", which, c.CrashEvery)
	}
	_, _ = fmt.Fprintf(e.Stdout, "%s on %s to count the text files under %s; %s\n",
		link.Count(e.Workers, "node"), where, cluster.Printable(dir), crashes)
	c.Dir, c.Set, c.Out, c.Terminal, c.Log = dir, set, e.Stdout, terminal.Is(e.Stdout), log
	err = Run(ctx, c)
	if errors.Is(err, ErrNoFiles) {
		return config.As(config.ErrUsage, err)
	}
	return err
}

// ownRedis is a Redis that runs for the demo alone.
type ownRedis struct {
	config link.Config
	where  string
	end    func() error
}

// startRedis starts the server of --data or the embedded one.
func startRedis(ctx context.Context, e *cluster.Env, log zerolog.Logger) (ownRedis, error) {
	if e.Data == "" {
		server := embedded.New()
		return ownRedis{server.Config(), "the embedded Redis (set REDIS_URL for a real one)", server.Close}, nil
	}
	own, err := e.OpenData(ctx, nil, log)
	if err != nil {
		return ownRedis{}, err
	}
	where := "a redis-server of one's own with its data in " + cluster.Printable(own.Dir())
	return ownRedis{own.Redis(), where, func() error { return own.Close(ctx) }}, nil
}

// directory returns the directory to count: the first argument, or by default the
// sources of the Go installation.
func directory(ctx context.Context, e *cluster.Env, args []string) (string, error) {
	var dir string
	if len(args) == 1 {
		dir = args[0]
	} else {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil || len(bytes.TrimSpace(root)) == 0 {
			return "", config.Usagef("which directory? Without the go command there is no default: %s demo DIR", e.Program)
		}
		dir = filepath.Join(string(bytes.TrimSpace(root)), "src")
	}
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	// The root of the tree may be a symbolic link; links within the tree are not followed.
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", config.Usagef("%s: %w", dir, service.WithoutPath(err))
	}
	if !info.IsDir() {
		return "", config.Usagef("%s is not a directory", dir)
	}
	return dir, nil
}
