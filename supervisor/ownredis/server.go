package ownredis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// readEvery is how often the server's log is read.
	readEvery = 500 * time.Millisecond
	// leastBackoff and mostBackoff are the pauses before the server is started again, doubled each
	// time; steady is how long it must have run for the pause to be the least again.
	leastBackoff = 100 * time.Millisecond
	mostBackoff  = 10 * time.Second
	steady       = 30 * time.Second
	// patience is how long [Open] waits for another process that is about to let go of the
	// directory; one that stops the server is given the time it takes.
	patience = time.Second
)

// Server is the Redis on a data directory, of which this process is the owner: no other one starts
// or stops it.
type Server struct {
	cfg     Config
	program program
	place   place
	owner   *os.File // the lock
	users   *os.File // the file of the members' lock, which is not locked
	tail    *tail
	bound   bool         // the server ends with this process
	hang    atomic.Int64 // see hangTime, in nanoseconds

	mu      sync.Mutex
	current *process
}

// Open makes this process the owner of the data directory and returns when its server has loaded
// the data. A server that runs there already, of an owner that was killed, goes on running. The
// caller runs [Server.Serve] and, when that has returned, calls [Server.Close].
//
// The errors are [ErrNotInstalled], [ErrDir], [ErrInUse], [ErrDamaged], the cause with which ctx
// has ended, or what the server said before it ended.
func Open(ctx context.Context, cfg Config) (*Server, error) { return openBound(ctx, cfg, false) }

// openBound is Open for a server that, if bound is set, ends with the thread that calls it.
func openBound(ctx context.Context, cfg Config, bound bool) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(supported(), cfg.validate()); err != nil {
		return nil, err
	}
	prog, err := findProgram(ctx, cfg.Program)
	if err != nil {
		return nil, err
	}
	at, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	owner, err := keep(cfg.Owner, at)
	if owner == nil && err == nil {
		owner, err = own(ctx, at)
	}
	if err != nil {
		return nil, err
	}
	users, err := open(at.file(usersLock), os.O_CREATE)
	if err != nil {
		return nil, errors.Join(as(ErrDir, fmt.Errorf("data directory %s: %w", at.dir, err)), owner.Close())
	}
	cfg.Dir = at.dir
	s := newServer(cfg, prog, at, owner)
	s.users, s.bound = users, bound
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, users.Close(), owner.Close())
	}
	return s, nil
}

// Usable returns the error with which [Open] would refuse the program or the directory. It starts and
// changes nothing. [ErrInUse] may be true for the moment only.
func Usable(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := errors.Join(supported(), cfg.validate()); err != nil {
		return err
	}
	prog, err := findProgram(ctx, cfg.Program)
	if err != nil {
		return err
	}
	info, err := os.Stat(cfg.Dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.IsDir() && ownedByUs(info) && isEmpty(cfg.Dir) {
		return nil
	}
	at, err := existing(cfg.Dir)
	if err != nil {
		return err
	}
	err = at.free(ownerLock)
	switch {
	case errors.Is(err, errLocked):
		return inUse(at)
	case err != nil:
		return as(ErrDir, fmt.Errorf("data directory %s: %w", at.dir, plain(err)))
	case at.running():
		return nil
	}
	return at.checkFiles(prog)
}

// inUse returns the error for a directory that has an owner.
func inUse(at place) error {
	pid, _ := at.ownerNote()
	return as(ErrInUse, fmt.Errorf("data directory %s: process %s runs on it: stop that one, use another directory, "+
		"or have one program run more nodes or processes (--workers, --processes)", at.dir, pid))
}

// ownerNote returns the number of the owner's process, and what it is about.
func (p place) ownerNote() (pid, phase string) {
	text, _ := os.ReadFile(p.file(ownerLock))
	pid, phase, _ = strings.Cut(strings.TrimSpace(string(text)), " ")
	return pid, phase
}

func newServer(cfg Config, prog program, at place, owner *os.File) *Server {
	s := &Server{cfg: cfg, program: prog, place: at, owner: owner, tail: &tail{path: at.file(logFile), log: cfg.Log}}
	s.hang.Store(int64(hangTime))
	return s
}

// keep returns the owner's lock that this process has already; nil if it is none of this directory.
func keep(f *os.File, at place) (*os.File, error) {
	if f == nil {
		return nil, nil //nolint:nilnil // it has none
	}
	had, err := f.Stat()
	if err == nil {
		if is, failed := os.Stat(at.file(ownerLock)); failed == nil && os.SameFile(had, is) {
			return f, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// Owner returns the lock by which this process is the owner. It is for the program that takes the place of
// this one in the process.
func (s *Server) Owner() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner
}

// leaving is what the file of the owner's lock says behind the owner's number while the owner stops
// the server.
const leaving = "leaving"

// own takes the lock of the directory's owner.
func own(ctx context.Context, at place) (*os.File, error) {
	for deadline := time.Now().Add(patience); ; pause(ctx, look) {
		f, err := lock(at.file(ownerLock), exclusive)
		if err == nil {
			if err = note(f, strconv.Itoa(os.Getpid())); err == nil {
				return f, nil
			}
			_ = f.Close()
		}
		if !errors.Is(err, errLocked) {
			return nil, as(ErrDir, fmt.Errorf("data directory %s: %w", at.dir, plain(err)))
		}
		_, phase := at.ownerNote()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case phase != leaving && time.Now().After(deadline):
			return nil, inUse(at)
		}
	}
}

func note(f *os.File, text string) error {
	err := f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(text+"\n"), 0)
	}
	return err
}

// Redis returns the configuration to connect to the server.
func (s *Server) Redis() link.Config { return s.place.redis() }

func (p place) redis() link.Config {
	return link.Config{URL: (&url.URL{Scheme: "unix", Path: p.socket()}).String()}
}

// Dir returns the data directory as an absolute path without symbolic links.
func (s *Server) Dir() string { return s.place.dir }

// PID returns the number of the server's process. It changes when the server is started again.
func (s *Server) PID() int { return s.running().pid }

// Version returns the version of the server's program.
func (s *Server) Version() string { return s.program.version }

func (s *Server) running() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func (s *Server) run(ctx context.Context, c *process) {
	_ = c.client.Ping(ctx) // it is connected from now on
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.forget()
	}
	s.current = c
}

// Serve starts the server again whenever it has ended, or has to be ended as nobody can use it, after a pause that
// grows, and hands its log to that of this process. It returns nil when ctx has ended: until
// then nodes that drain need the server, so end ctx after them.
func (s *Server) Serve(ctx context.Context) error {
	for backoff := leastBackoff; ; {
		began := time.Now()
		s.attend(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // see above
		}
		if time.Since(began) > steady {
			backoff = leastBackoff
		}
		backoff = s.restart(ctx, backoff)
	}
}

// attend hands on the log of the server, and looks after it, until it or ctx has ended.
func (s *Server) attend(ctx context.Context) {
	c := s.running()
	ctx, cancel := context.WithCancel(ctx)
	var checking sync.WaitGroup
	defer checking.Wait()
	defer cancel()
	checking.Go(func() { s.check(ctx, c) })
	reading := time.NewTicker(readEvery)
	defer reading.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.ended:
			return
		case <-reading.C:
			s.tail.read()
		}
	}
}

// restart starts the server again until that succeeds or ctx has ended. It returns the next pause.
func (s *Server) restart(ctx context.Context, backoff time.Duration) time.Duration {
	s.tail.read()
	log := s.tail.log
	log.Error().Int("pid", s.running().pid).Str("end", s.running().how).Stringer("pause", backoff).
		Msg("the redis-server has ended: it is started again, and nodes wait for it")
	for {
		pause(ctx, backoff)
		if ctx.Err() != nil {
			return backoff
		}
		backoff = min(2*backoff, mostBackoff)
		err := s.begin(ctx)
		if err == nil {
			log.Info().Int("pid", s.running().pid).Msg("the redis-server runs again")
			return backoff
		}
		if ctx.Err() == nil {
			log.Error().Err(err).Stringer("pause", backoff).Msg("the redis-server could not be started: it is tried again")
		}
	}
}

// Close has the server save its data and end, and gives up the directory. The server stays, for
// others to stop, where processes use it that have joined it ([Join]). If it has not ended when ctx ends
// it is killed, which is an error. Close is called once, when [Server.Serve] has returned.
func (s *Server) Close(ctx context.Context) error {
	c := s.running()
	defer s.owner.Close()
	defer s.users.Close()
	defer s.tail.read()
	defer c.forget()
	log := s.tail.log.With().Int("pid", c.pid).Logger()
	if ended(c) {
		log.Warn().Str("end", c.how).Msg("the redis-server has not been started again: what it has written is kept")
		return nil
	}
	if err := note(s.owner, strconv.Itoa(os.Getpid())+" "+leaving); err != nil {
		log.Warn().Err(err).Msg("the file of the lock")
	}
	if err := flock(s.users, exclusive); errors.Is(err, errLocked) {
		_ = s.owner.Close()
		held, err := s.place.lockAsLast(ctx, "") // they may have gone, and seen that there was an owner
		if held == nil {
			log.Info().Msg("the redis-server stays: processes use it, the last of which stops it")
			return err
		}
		defer held.close()
	} else if err != nil {
		return err
	}
	if s.place.damaged() {
		if err := s.writeAnew(ctx, c); err != nil {
			return errors.Join(err, s.place.shutdown(ctx, c))
		}
	}
	if err := s.place.shutdown(ctx, c); err != nil {
		return err
	}
	s.tail.read()
	log.Info().Msg("the redis-server has saved its data and ended")
	return nil
}

// Abandon asks the server to save its data and end, and does not wait for that. It is for a process that ends at once,
// without [Server.Close], and may be called at any time.
func (s *Server) Abandon() {
	if c := s.running(); c != nil && c.lives() {
		_ = terminate(c.pid)
	}
}

// shutdown has the server save and end, and removes its socket. If it has not ended when ctx ends, it is killed.
func (p place) shutdown(ctx context.Context, c *process) error {
	var last error
	terminated := false
	for began := time.Now(); !ended(c) || p.running(); pause(ctx, look) {
		if ctx.Err() != nil {
			c.kill()
			return fmt.Errorf("data directory %s: the redis-server (process %d) has not ended and was killed: %w (%w)",
				p.dir, c.pid, context.Cause(ctx), last)
		}
		if _, dead := p.clearForks(); dead {
			continue
		}
		// Without save points this flushes the AOF, and writes no other file. The answer of a
		// server that does so is the end of the connection.
		last = c.client.Do(ctx, "SHUTDOWN").Err()
		if !terminated && (errors.Is(last, fs.ErrNotExist) || time.Since(began) > answerTime) && c.lives() {
			terminated = true
			_ = terminate(c.pid) // which has the same effect, also where its socket is gone
		}
	}
	_ = os.Remove(p.socket())
	_ = os.Remove(p.starting())
	_ = os.Remove(p.file(stateFile))
	if p.sockets != p.dir {
		_ = os.Remove(p.sockets)
	}
	return nil
}
