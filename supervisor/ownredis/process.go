package ownredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// look is the pause between two looks at a server that starts or stops.
const look = 10 * time.Millisecond

// process is a server: one that this process has started, or one that it has found.
type process struct {
	pid   int
	ended chan struct{}
	how   string // how it ended; for readers of ended
	let   func() // ends the watch, not the process
}

// options returns the server's options, of which version 6.2 knows each.
func options(p place, d Durability) []string {
	return []string{
		"--port", "0", "--unixsocket", p.starting(), "--unixsocketperm", "600", "--protected-mode", "yes",
		"--dir", p.dir, "--daemonize", "no", "--supervised", "no", "--logfile", p.file(logFile), "--loglevel", "notice",
		"--appendonly", "yes", "--appendfilename", aofFile, "--appendfsync", string(d), "--no-appendfsync-on-rewrite", "no",
		"--aof-load-truncated", "yes", "--aof-use-rdb-preamble", "yes",
		"--save", "", "--dbfilename", rdbFile, "--rdbchecksum", "yes",
		"--stop-writes-on-bgsave-error", "no", // a backup that fails is no reason to refuse tasks
		"--maxmemory", "0", "--maxmemory-policy", "noeviction", "--timeout", "0", "--always-show-logo", "no",
	}
}

// spawn starts the server, which inherits the lock: it is locked as long as the server runs, or a
// process that the server has forked. A bound server ends with the thread that calls spawn, where the
// system can do that.
func spawn(prog program, p place, d Durability, held *os.File, bound bool) (*process, error) {
	log, err := os.OpenFile(p.file(logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := options(p, d)
	if prog.major < 7 { // newer ones allow neither unless they are told to
		args = append(args, "--rename-command", "DEBUG", "", "--rename-command", "MODULE", "")
	}
	cmd := exec.Command(prog.path, args...) //nolint:gosec,noctx // the program that the user has installed; it outlives this one
	cmd.Dir, cmd.Env, cmd.ExtraFiles = p.dir, environment, []*os.File{held}
	cmd.Stdout, cmd.Stderr = log, log // what it says before it opens its log
	separate(cmd)
	if bound {
		endWithThread(cmd)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(prog.path), err)
	}
	c := &process{pid: cmd.Process.Pid, ended: make(chan struct{}), let: func() {}}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // an error where somebody else has waited for it
		if c.how = "it is gone"; cmd.ProcessState != nil {
			c.how = cmd.ProcessState.String()
		}
	}()
	return c, nil
}

// watch returns the process of a server that somebody else has started and that listens on the
// socket. It outlives ctx. Its end shows as the end of a connection on which nothing is said.
func watch(ctx context.Context, p place, pid int, path string) *process {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &process{pid: pid, ended: make(chan struct{})}
	watched := make(chan struct{})
	c.let = func() { cancel(); <-watched }
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			var d net.Dialer
			if conn, err := d.DialContext(ctx, "unix", path); err == nil {
				closing := context.AfterFunc(ctx, func() { _ = conn.Close() })
				_, _ = io.Copy(io.Discard, conn)
				if closing() {
					_ = conn.Close()
				}
			}
			if !p.running() && ctx.Err() == nil {
				reap(pid)
				c.how = "it is gone"
				close(c.ended)
				return
			}
			pause(ctx, look)
		}
	}()
	return c
}

// running reports whether the server, or a process that it has forked, has the server's lock.
func (p place) running() bool {
	held, err := lock(p.file(serverLock), shared)
	if err != nil {
		return errors.Is(err, errLocked)
	}
	_ = held.Close()
	return false
}

// pause waits for d or until ctx has ended.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connect returns a client for a few commands to the server at the socket.
func connect(path string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Network: "unix", Addr: path, ClientName: "stellar:data", Protocol: 2, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: time.Second, ReadTimeout: 2 * time.Second, DisableIdentity: true, PoolSize: 1, ContextTimeoutEnabled: true,
	})
}
