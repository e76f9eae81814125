package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/supervisor/cli/demo"
)

// Defaults of the demo.
const (
	demoWorkers    = 4
	demoCrashEvery = 250 * time.Millisecond
)

func (p *program) demoCommand() *urfave.Command {
	var crashEvery time.Duration
	flags := append(p.configFlags(), p.setFlags(demoWorkers, "4")...)
	flags = append(flags, &urfave.DurationFlag{
		Name: "crash-every", Category: groupSet, Value: demoCrashEvery, Destination: &crashEvery,
		Usage: "crash a random node that often, 0 for never (`TIME`)",
	})
	flags = append(append(flags, p.connectFlags()...), p.logFlags("off")...)
	return &urfave.Command{
		Name: "demo", Usage: "count the words of a source tree on nodes that crash, and check the sums", ArgsUsage: "[DIR]",
		Description: "Every regular text file under DIR (default: the Go source tree) becomes a task; its lines, words and bytes\n" +
			"are added up in the cluster's cache while random nodes crash. At the end the sums are compared with a direct\n" +
			"count of the same files: if they differ the exit code is 1. Files count as text if their first 8 KiB hold no\n" +
			"NUL byte and are valid UTF-8; symbolic links are not followed. It uses a namespace of its own and removes it.",
		Flags: p.input.declare(flags...), ArgValidator: arguments(0, 1, "[DIR]"),
		Action: p.action(func(ctx context.Context, args []string) error { return p.demo(ctx, crashEvery, args) }),
	}
}

func (p *program) demo(ctx context.Context, crashEvery time.Duration, args []string) error {
	if crashEvery < 0 {
		return usagef("--crash-every: %s is negative", crashEvery)
	}
	if p.workers == 0 {
		return usagef("--workers: the demo needs at least one node")
	}
	dir, err := demoDir(ctx, args)
	if err != nil {
		return err
	}
	set, err := p.setConfig()
	if err != nil {
		return err
	}
	redis, configured, err := p.redis()
	if err != nil {
		return err
	}
	where := redis.Address()
	if !configured {
		server := embedded.New()
		defer server.Close()
		redis.Dial = server.Dial
		where = "the embedded Redis (set REDIS_URL for a real one)"
	}
	redis.Namespace = fmt.Sprintf("%.180s-demo-%s", p.namespace, strings.ToLower(rand.Text()[:12]))
	set.Redis = redis
	crashes := "no node is crashed"
	if crashEvery > 0 {
		crashes = fmt.Sprintf("a random one is crashed every %s", crashEvery)
	}
	log, err := p.logger()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.Stdout, "%d nodes on %s count the text files under %s; %s\n", p.workers, where, printable(dir), crashes)
	err = demo.Run(ctx, demo.Config{
		Dir: dir, CrashEvery: crashEvery, Set: set, Out: p.Stdout, Terminal: isTerminal(p.Stdout), Log: log,
	})
	if errors.Is(err, demo.ErrNoFiles) {
		return &kindError{errUsage, err}
	}
	return err
}

// demoDir is the directory that was given, or the sources of Go.
func demoDir(ctx context.Context, args []string) (string, error) {
	var dir string
	if len(args) == 1 {
		dir = args[0]
	} else {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil || len(bytes.TrimSpace(root)) == 0 {
			return "", usagef("which directory? Without the go command there is no default: stellar demo DIR")
		}
		dir = filepath.Join(string(bytes.TrimSpace(root)), "src")
	}
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	// The tree itself may be behind a link; within it links are not followed.
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		dir = target
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", usagef("%s: %w", dir, withoutPath(err))
	}
	if !info.IsDir() {
		return "", usagef("%s is not a directory", dir)
	}
	return dir, nil
}
