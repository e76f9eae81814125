package ownredis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// tellEvery is how often it is told that the server still loads.
	tellEvery = 5 * time.Second
	// answerTime is how long a server that runs may take to answer, and goneTime how long its
	// socket may be missing.
	answerTime = 10 * time.Second
	goneTime   = 3 * time.Second
)

// begin starts the server or, if it runs, makes it the one of this process.
func (s *Server) begin(ctx context.Context) error {
	began := time.Now()
	for {
		held, err := lock(s.place.file(serverLock), exclusive)
		if err == nil {
			return s.start(ctx, held)
		}
		if !errors.Is(err, errLocked) {
			return as(ErrDir, fmt.Errorf("data directory %s: %w", s.place.dir, err))
		}
		if done, err := s.takeOver(ctx); done || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.clear(time.Since(began) > goneTime)
		if time.Since(began) > 2*answerTime {
			return s.silent()
		}
		pause(ctx, look)
	}
}

// silent returns the error for a server that has the lock and does not answer.
func (s *Server) silent() error {
	who := "a redis-server"
	if st, err := s.place.readState(); err == nil {
		who = fmt.Sprintf("the redis-server (process %d)", st.PID)
	}
	return as(ErrInUse, fmt.Errorf(
		"data directory %s: %s runs on it and does not answer: is it stopped, or its disk? End it to have a new one started", s.place.dir, who))
}

// clear ends what has the lock and cannot be the server that is to go on: what a killed server has
// forked; and, if nobody has answered for long, a server whose socket is gone, which nobody can
// reach any more.
func (s *Server) clear(long bool) {
	st, dead := s.place.clearForks()
	if dead || !long {
		return
	}
	_, gone := os.Lstat(s.place.socket())
	_, goneToo := os.Lstat(s.place.starting())
	if st.lives() && gone != nil && goneToo != nil {
		s.tail.log.Warn().Int("pid", st.PID).Msg("the socket of the redis-server is gone: it saves and ends, and is started again")
		_ = terminate(st.PID)
	}
}

// clearForks reports whether the server that the lock was given to has ended. What it has forked, to
// write a file that nobody will read, is ended. The number of its process is nobody else's as long as that is not.
func (p place) clearForks() (st state, dead bool) {
	st, err := p.readState()
	if err != nil || st.PID <= 1 { // it is being started
		return st, false
	}
	if dead = !st.lives(); dead {
		_ = killGroup(st.PID)
	}
	return st, dead
}

// start starts the server. It returns when the data is loaded and the socket is in its place.
func (s *Server) start(ctx context.Context, held *os.File) error {
	defer held.Close()
	if err := s.place.checkFiles(s.program); err != nil {
		return err
	}
	if s.place.sockets != s.place.dir { // it may be one for temporary files, which are removed some day
		if err := makeSocketDir(s.place.sockets); err != nil {
			return as(ErrDir, err)
		}
	}
	_ = os.Remove(s.place.socket())
	_ = os.Remove(s.place.starting())
	s.tail.skip()
	st := state{Sockets: s.place.sockets, Version: s.program.version}
	if err := s.place.writeState(st); err != nil { // before another process has the lock: the number there is not its own
		return err
	}
	c, err := spawn(s.program, s.place, s.cfg.Durability, held, s.bound)
	if err != nil {
		return err
	}
	st.PID, st.Start = c.pid, c.start
	if err = s.place.writeState(st); err == nil {
		err = s.finish(ctx, c, false)
	}
	if err != nil {
		s.abandon(c)
		return err
	}
	s.run(ctx, c)
	return nil
}

// abandon ends a server whose data no node has seen.
func (s *Server) abandon(c *process) {
	c.stop()
	c.forget()
	s.tail.read()
}

// takeOver makes the server that has the lock the one of this process. It returns false if none
// answers: it may just end.
func (s *Server) takeOver(ctx context.Context) (done bool, err error) {
	st, err := s.place.readState()
	if err == nil && st.Sockets != "" && st.Sockets != s.place.sockets {
		s.place.sockets = st.Sockets // made under another run-time directory
	}
	if st, err := ask(ctx, st, s.place.socket()); err == nil {
		s.run(ctx, watch(ctx, s.place, st, s.place.socket()))
		s.tail.skip()
		if s.cfg.Owner == nil {
			s.tail.log.Info().Int("pid", st.PID).Msg("a redis-server runs on the data directory, which lost its owner: it goes on")
		}
		return true, s.setDurability(ctx)
	}
	st, err = ask(ctx, st, s.place.starting())
	if err != nil {
		return false, nil //nolint:nilerr // the caller tries again
	}
	c := watch(ctx, s.place, st, s.place.starting())
	if err := s.finish(ctx, c, true); err != nil {
		s.abandon(c)
		return true, err
	}
	c.forget()
	s.run(ctx, watch(ctx, s.place, st, s.place.socket()))
	return true, s.setDurability(ctx)
}

// ask returns the state of the process that listens on the socket; noted is what was noted of it, or of another.
func ask(ctx context.Context, noted state, socket string) (state, error) {
	text, err := info(ctx, socket, "server")
	if err != nil {
		return noted, err
	}
	pid, err := strconv.Atoi(field(text, "process_id"))
	if err == nil && pid != noted.PID {
		noted.PID, noted.Start = pid, startOf(pid)
	}
	return noted, err
}

// info returns a section of INFO. The client lasts no longer: one that could not dial waits for a
// second before it dials again.
func info(ctx context.Context, socket, section string) (string, error) {
	c := connect(socket)
	defer c.Close()
	return c.Info(ctx, section).Result()
}

// field returns a field of the answer to INFO.
func field(info, name string) string {
	for line := range strings.SplitSeq(info, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return value
		}
	}
	return ""
}

func (s *Server) setDurability(ctx context.Context) error {
	if err := s.running().client.ConfigSet(ctx, "appendfsync", string(s.cfg.Durability)).Err(); err != nil {
		return fmt.Errorf("data directory %s: set its durability to %s: %w", s.place.dir, s.cfg.Durability, err)
	}
	return nil
}

// finish waits until a server that was started has loaded its data, and puts its socket in place.
//
// A server that has cut a torn end off its AOF leaves the beginning of the transaction there that
// the end was torn from, and its next start would replay that half, once something stands behind
// it. So its AOF is written anew before any node can write to it; repaired says that it may have
// been cut where nobody saw it.
func (s *Server) finish(ctx context.Context, c *process, repaired bool) error {
	if err := s.loaded(ctx, c); err != nil {
		return err
	}
	s.tail.read()
	if repaired || s.tail.repaired() {
		s.tail.log.Warn().Msg("the AOF may have lost a torn end, a write that was never acknowledged: it is rewritten")
		client := connect(s.place.starting())
		defer client.Close()
		if err := s.rewrite(ctx, c, client); err != nil {
			return err
		}
	}
	return os.Rename(s.place.starting(), s.place.socket())
}

func (s *Server) loaded(ctx context.Context, c *process) error {
	told := time.Now()
	for ; ; pause(ctx, look) {
		s.tail.read()
		text, err := info(ctx, s.place.starting(), "persistence")
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ended(c):
			s.tail.read()
			return s.tail.why(s.cfg.Dir, c.how)
		case err == nil && field(text, "loading") == "0":
			return nil
		case err == nil && time.Since(told) > tellEvery:
			told = time.Now()
			s.tail.log.Info().Str("percent", field(text, "loading_loaded_perc")).Msg("the redis-server loads its data")
		}
	}
}

// rewrite writes the AOF anew.
func (s *Server) rewrite(ctx context.Context, c *process, client *redis.Client) error {
	for ; ; pause(ctx, look) {
		err := client.BgRewriteAOF(ctx).Err()
		if err == nil {
			break
		}
		if reply, isReply := errors.AsType[redis.Error](err); !isReply || !strings.Contains(reply.Error(), "in progress") || ctx.Err() != nil {
			return fmt.Errorf("data directory %s: rewrite its AOF: %w", s.place.dir, err)
		} // otherwise it does already, and may not write all of it
	}
	for ; ; pause(ctx, look) {
		s.tail.read()
		text, err := client.Info(ctx, "persistence").Result()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ended(c):
			return s.tail.why(s.cfg.Dir, c.how)
		case err != nil || field(text, "aof_rewrite_in_progress") != "0" || field(text, "aof_rewrite_scheduled") != "0":
		case field(text, "aof_last_bgrewrite_status") == "ok":
			return nil
		default:
			return s.tail.why(s.cfg.Dir, "its AOF could not be rewritten")
		}
	}
}
