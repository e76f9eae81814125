package ownredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

// scratch is a directory, in that of the data, whose files a server of its own loads: to see
// whether it can, and how many keys are there.
type scratch struct{ *Server }

// newScratch makes a directory in that of the data. The caller removes it.
func newScratch(cfg Config, prog program, in place, name string) (scratch, error) {
	stale, _ := filepath.Glob(in.file(name + "-*")) // of a process that was killed
	for _, dir := range stale {
		if held, err := lock(filepath.Join(dir, ownerLock), exclusive); err == nil {
			_ = os.RemoveAll(dir)
			_ = held.Close()
		}
	}
	dir, err := os.MkdirTemp(in.dir, name+"-")
	if err != nil {
		return scratch{}, err
	}
	at := place{dir: dir}
	owner, err := lock(at.file(ownerLock), exclusive)
	if err == nil {
		at.sockets, err = socketDir(dir, cfg.RuntimeDir)
	}
	if err != nil {
		return scratch{}, errors.Join(err, os.RemoveAll(dir))
	}
	cfg.Dir, cfg.Log = in.dir, zerolog.Nop()
	s := newServer(cfg, prog, at, owner)
	s.bound = true
	return scratch{s}, nil
}

// remove removes the directory.
func (s scratch) remove() {
	_ = os.RemoveAll(s.place.dir)
	if s.place.sockets != s.place.dir {
		_ = os.RemoveAll(s.place.sockets)
	}
	_ = s.owner.Close()
}

// load has a server load what is in the directory, and returns how many keys there are.
func (s scratch) load(ctx context.Context) (keys int64, err error) {
	runtime.LockOSThread() // the server ends with this thread
	defer runtime.UnlockOSThread()
	held, err := lock(s.place.file(serverLock), exclusive)
	if err != nil {
		return 0, err
	}
	if err := s.start(ctx, held); err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, s.place.shutdown(ctx, s.running()))
		s.running().forget()
	}()
	text, err := info(ctx, s.place.socket(), "keyspace")
	if err != nil {
		return 0, err
	}
	return keysIn(text), nil
}

// keysIn returns how many keys all databases have, after the section keyspace of INFO, whose lines
// are such as "db0:keys=3,expires=0,avg_ttl=0".
func keysIn(info string) (keys int64) {
	for line := range strings.SplitSeq(info, "\r\n") {
		if _, values, ok := strings.Cut(line, ":keys="); ok {
			number, _, _ := strings.Cut(values, ",")
			n, _ := strconv.ParseInt(number, 10, 64)
			keys += n
		}
	}
	return keys
}

// copyFile copies a file and returns its size.
func copyFile(to, from string) (size int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return size, fmt.Errorf("copy %s: %w", from, err)
	}
	return size, nil
}
