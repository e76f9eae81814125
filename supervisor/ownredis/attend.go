package ownredis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// checkEvery is how often a server that runs is looked at.
	checkEvery = time.Second
	// mostGone is how many looks in a row find a file missing before that is told and mended: another
	// program may just replace the directory.
	mostGone = 3
	// untoldLooks is how many looks follow before what cannot be mended is told again.
	untoldLooks = 60
	// hangTime is how long a server may give no answer, to several questions, before it is ended.
	hangTime = time.Minute
	// mostMissed is how many questions have to be without an answer: this process may have slept all the time.
	mostMissed = 3
)

// check looks after a server until it or ctx has ended. One that does not answer, or that nobody can reach, is
// ended, and so started again.
func (s *Server) check(ctx context.Context, c *process) {
	answered, missed, gone := time.Now(), 0, 0
	for {
		pause(ctx, checkEvery)
		err := c.client.Ping(ctx).Err()
		if ctx.Err() != nil || ended(c) {
			return
		}
		if _, isReply := errors.AsType[redis.Error](err); err == nil || isReply { // such as BUSY, while a script runs
			answered, missed = time.Now(), 0
		} else if missed++; missed >= mostMissed && time.Since(answered) > time.Duration(s.hang.Load()) {
			s.tail.log.Error().Int("pid", c.pid).Err(err).Msg("the redis-server does not answer: it is killed")
			c.kill()
			return
		}
		what := s.missing()
		if what == "" {
			gone = 0
			continue
		}
		if gone++; gone >= mostGone {
			s.mend(ctx, c, what)
			gone = -untoldLooks
		}
	}
}

// missing returns which of the files is missing without which nobody finds the server that runs, or its data; "" for none.
func (s *Server) missing() string {
	switch {
	case !s.owns():
		return ownerLock
	case !s.place.running():
		return serverLock
	case s.place.damaged():
		return aofFile
	}
	for _, path := range []string{s.place.socket(), s.place.file(stateFile)} {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return path
		}
	}
	return ""
}

// owns reports whether the lock of this process is that of the directory's owner.
func (s *Server) owns() bool {
	had, err := s.owner.Stat()
	if err != nil {
		return true // it is not known
	}
	is, err := os.Stat(s.place.file(ownerLock))
	return err == nil && os.SameFile(had, is) || err != nil && !errors.Is(err, os.ErrNotExist)
}

// damaged reports whether a file is missing that the next server would load.
func (p place) damaged() bool {
	files, err := p.dataFiles()
	for _, name := range files {
		if _, err := os.Lstat(p.file(name)); errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return err == nil && len(files) == 0
}

// mend puts back what was removed from the directory of a server that runs: it writes its data anew, and is started
// again to make the rest.
func (s *Server) mend(ctx context.Context, c *process, what string) {
	log := s.tail.log.With().Int("pid", c.pid).Str("data", s.place.dir).Logger()
	log.Error().Str("missing", what).Msg("files of the redis-server were removed or replaced while it runs")
	if !s.owns() {
		held, err := own(ctx, s.place)
		if err != nil {
			log.Error().Err(err).Msg("the lock of the data directory cannot be taken again: stop what uses it")
			return
		}
		s.mu.Lock()
		s.owner, held = held, s.owner
		s.mu.Unlock()
		_ = held.Close()
	}
	if s.place.damaged() {
		if err := s.writeAnew(ctx, c); err != nil {
			log.Error().Err(err).Msg("it goes on, with its data in memory only")
			return
		}
	}
	if s.missing() != "" {
		c.stop()
	}
}

// writeAnew has the server write all of its data, whose files are gone, again.
func (s *Server) writeAnew(ctx context.Context, c *process) error {
	if err := s.rewrite(ctx, c, c.client); err != nil {
		return as(ErrDir, fmt.Errorf("data directory %s: its files were removed while its server runs, "+
			"and cannot be written again: the data is lost when process %s ends: %w", s.place.dir, strconv.Itoa(c.pid), err))
	}
	s.tail.log.Warn().Str("data", s.place.dir).Msg("the redis-server has written its data again, whose files were removed")
	return nil
}
