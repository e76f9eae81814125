package ownredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	pid     int
	start   string // as in state
	ended   chan struct{}
	how     string        // how it ended; for readers of ended
	unwatch func()        // ends the watch, not the process
	client  *redis.Client // of its socket; one that is connected reaches the server when its socket is removed, too
}

// lives reports whether the process lives.
func (c *process) lives() bool { return !ended(c) && state{PID: c.pid, Start: c.start}.lives() }

func ended(c *process) bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// stop asks the process to save and end, and kills it if it has not done so in time.
func (c *process) stop() {
	if !c.lives() {
		return
	}
	_ = terminate(c.pid)
	select {
	case <-c.ended:
	case <-time.After(answerTime):
		c.kill()
	}
}

// kill ends the process at once, and what it has forked. It waits a moment for that: a process that waits for a dead disk
// does not end.
func (c *process) kill() {
	if c.lives() {
		_ = killGroup(c.pid)
	}
	select {
	case <-c.ended:
	case <-time.After(killTime):
	}
}

// killTime is how long the end of a process that was killed is waited for.
const killTime = 2 * time.Second

// forget ends what this process has of the other.
func (c *process) forget() {
	c.unwatch()
	_ = c.client.Close()
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
	c := &process{
		pid: cmd.Process.Pid, start: startOf(cmd.Process.Pid), ended: make(chan struct{}), unwatch: func() {}, client: connect(p.socket()),
	}
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
func watch(ctx context.Context, p place, st state, path string) *process {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &process{pid: st.PID, start: st.Start, ended: make(chan struct{}), client: connect(p.socket())}
	watched := make(chan struct{})
	c.unwatch = func() { cancel(); <-watched }
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
			reap(c.pid)
			if !p.running() && !st.lives() && ctx.Err() == nil {
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
func (p place) running() bool { return errors.Is(p.free(serverLock), errLocked) }

// free returns errLocked if a process has the lock alone. It makes no file.
func (p place) free(name string) error {
	f, err := open(p.file(name), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(flock(f, shared), f.Close())
	}
	return err
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
