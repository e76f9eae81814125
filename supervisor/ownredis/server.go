package ownredis

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
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
	tail    *tail
	bound   bool // the server ends with this process

	serving sync.Mutex    // held by Serve
	stop    chan struct{} // closed by Close
	stopped sync.Once

	mu      sync.Mutex
	current *process
}

// Open makes this process the owner of the data directory and returns when its server has loaded
// the data. A server that runs there already, of an owner that was killed, goes on running. The
// caller runs [Server.Serve] and calls [Server.Close] at the end.
//
// The errors are [ErrNotInstalled], [ErrDir], [ErrInUse], [ErrDamaged], the cause with which ctx
// has ended, or what the server said before it ended.
func Open(ctx context.Context, cfg Config) (*Server, error) {
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
	cfg.Dir = at.dir
	s := newServer(cfg, prog, at, owner)
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, owner.Close())
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
	owner, err := lock(at.file(ownerLock), shared)
	if errors.Is(err, errLocked) {
		return inUse(at)
	}
	if err != nil {
		return as(ErrDir, fmt.Errorf("data directory %s: %w", at.dir, plain(err)))
	}
	if err := owner.Close(); err != nil || at.running() {
		return err
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
	return &Server{
		cfg: cfg, program: prog, place: at, owner: owner, stop: make(chan struct{}),
		tail: &tail{path: at.file(logFile), log: cfg.Log},
	}
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
func (s *Server) Owner() *os.File { return s.owner }

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

func (s *Server) run(c *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = c
}

// Serve starts the server again whenever it has ended, after a pause that grows, and hands its log
// to that of this process. It returns nil when ctx has ended or [Server.Close] is called: until
// then nodes that drain need the server, so end ctx after them.
func (s *Server) Serve(ctx context.Context) error {
	s.serving.Lock()
	defer s.serving.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ending := make(chan struct{})
	defer func() { <-ending }()
	defer cancel()
	go func() {
		defer close(ending)
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	reading := time.NewTicker(readEvery)
	defer reading.Stop()
	backoff, since := leastBackoff, time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reading.C:
			s.tail.read()
		case <-s.running().ended:
			if time.Since(since) > steady {
				backoff = leastBackoff
			}
			backoff = s.restart(ctx, backoff)
			since = time.Now()
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
// others to stop, where processes use it that have joined it ([Join]). It stays, too, if it has not
// ended when ctx ends, which is an error.
func (s *Server) Close(ctx context.Context) error {
	var err error
	s.stopped.Do(func() {
		close(s.stop)
		s.serving.Lock() // Serve has returned
		defer s.serving.Unlock()
		err = s.close(ctx)
	})
	return err
}

func (s *Server) close(ctx context.Context) error {
	defer s.owner.Close()
	defer s.tail.read()
	defer func() { s.running().let() }()
	users, err := lock(s.place.file(usersLock), exclusive)
	if err != nil {
		if errors.Is(err, errLocked) {
			s.tail.log.Info().Int("pid", s.running().pid).Msg("the redis-server stays: processes use it, the last of which stops it")
			return nil
		}
		return err
	}
	defer users.Close()
	if err := note(s.owner, strconv.Itoa(os.Getpid())+" "+leaving); err != nil {
		s.tail.log.Warn().Err(err).Msg("the file of the lock")
	}
	err = s.place.shutdown(ctx)
	if err == nil {
		<-s.running().ended
		s.tail.read()
		s.tail.log.Info().Int("pid", s.running().pid).Msg("the redis-server has saved its data and ended")
		return nil
	}
	return err
}

// shutdown has the server save and end, and removes its socket.
func (p place) shutdown(ctx context.Context) error {
	c := connect(p.socket())
	defer c.Close()
	var last error
	for ; p.running(); pause(ctx, look) {
		if ctx.Err() != nil {
			return fmt.Errorf("data directory %s: the server has not ended: %w", p.dir, errors.Join(context.Cause(ctx), last))
		}
		if _, dead := p.clearForks(); dead {
			continue
		}
		// Without save points this flushes the AOF, and writes no other file. The answer of a
		// server that does so is the end of the connection.
		last = c.Do(ctx, "SHUTDOWN").Err()
	}
	_ = os.Remove(p.socket())
	_ = os.Remove(p.starting())
	_ = os.Remove(p.file(stateFile))
	if p.sockets != p.dir {
		_ = os.Remove(p.sockets)
	}
	return nil
}
