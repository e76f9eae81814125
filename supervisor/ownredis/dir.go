package ownredis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names in the data directory, beside those that Redis gives to its own files.
const (
	ownerLock  = "stellar.lock"  // held by the process that runs the server
	usersLock  = "stellar.users" // held by the processes that only use it, together
	serverLock = "redis.lock"    // held by the server, which inherits it
	stateFile  = "redis.json"
	logFile    = "redis.log"
	socketName = "redis.sock"
	startName  = "start.sock" // the socket until the data is loaded; as long as socketName
)

// Names of Redis's files.
const (
	aofDir  = "appendonlydir"  // since Redis 7
	aofFile = "appendonly.aof" // before, or in aofDir the beginning of the names
	rdbFile = "dump.rdb"
)

// Names of directories in it that a restore makes: of what it loads, and of what was there before.
const (
	restoreName    = "restore"
	replacedPrefix = "replaced-"
)

// place is a data directory, and the directory of its sockets.
type place struct{ dir, sockets string }

func (p place) file(name string) string { return filepath.Join(p.dir, name) }
func (p place) socket() string          { return filepath.Join(p.sockets, socketName) }
func (p place) starting() string        { return filepath.Join(p.sockets, startName) }

// state is what the owner notes of a server that it has started.
type state struct {
	PID     int    `json:"pid"`
	Start   string `json:"start"` // when the process began, on the system's clock; "" if the system does not tell
	Sockets string `json:"sockets"`
	Version string `json:"version"`
}

// lives reports whether the process of the state lives.
func (s state) lives() bool { return s.PID > 1 && exists(s.PID) && startOf(s.PID) == s.Start }

func (p place) readState() (s state, err error) {
	text, err := os.ReadFile(p.file(stateFile))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

func (p place) writeState(s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temporary := p.file(stateFile + ".new")
	if err := os.WriteFile(temporary, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, p.file(stateFile))
}

// lock locks the file, which it makes if there is none, see flock.
func lock(path string, kind int) (*os.File, error) {
	f, err := open(path, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := flock(f, kind); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// momentary is how long a lock may be had by somebody who only looks, or by a process that another goroutine is just
// starting: until it runs its program, it has all files of its parent.
const momentary = time.Second

// lockPatiently is lock, which waits for a lock that is let go at once.
func lockPatiently(ctx context.Context, path string, kind int) (f *os.File, err error) {
	for deadline := time.Now().Add(momentary); ; pause(ctx, look) {
		if f, err = lock(path, kind); !errors.Is(err, errLocked) || ctx.Err() != nil || time.Now().After(deadline) {
			return f, err
		}
	}
}

// prepare makes the directory if it does not exist, and returns its place.
func prepare(cfg Config) (place, error) {
	err := os.MkdirAll(cfg.Dir, 0o700)
	if target, failed := os.Readlink(cfg.Dir); err != nil && failed == nil {
		err = fmt.Errorf("%s is a link to %s, which is no directory", cfg.Dir, target)
	}
	if err != nil {
		return place{}, as(ErrDir, fmt.Errorf("data directory: %w", err))
	}
	closeEmpty(cfg.Dir)
	p, err := existing(cfg.Dir)
	if err != nil {
		return place{}, err
	}
	if p.sockets, err = socketDir(p.dir, cfg.RuntimeDir); err != nil {
		return place{}, as(ErrDir, err)
	}
	probe, err := os.CreateTemp(p.dir, ".writable-")
	if err != nil {
		return place{}, as(ErrDir, fmt.Errorf("data directory %s: nothing can be written there: %w", p.dir, plain(err)))
	}
	_ = probe.Close()
	return p, os.Remove(probe.Name())
}

// closeEmpty closes an empty directory of this user to others.
func closeEmpty(dir string) {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() && ownedByUs(info) && info.Mode().Perm()&0o077 != 0 && isEmpty(dir) {
		_ = os.Chmod(dir, 0o700) //nolint:gosec // a directory needs the x
	}
}

// existing returns the place of a directory that exists, without that of its sockets.
func existing(dir string) (place, error) {
	full, err := filepath.Abs(dir)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	if err != nil {
		return place{}, as(ErrDir, fmt.Errorf("data directory %s: %w", dir, plain(err)))
	}
	info, err := os.Stat(full)
	if err == nil {
		err = checkPrivate(full, info)
	}
	if err != nil {
		return place{}, as(ErrDir, fmt.Errorf("data directory %s: %w", full, plain(err)))
	}
	return place{dir: full}, nil
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// checkPrivate returns an error unless the directory belongs to this user and is closed to others:
// who can write there can be the server, and who can read there can read the data.
func checkPrivate(path string, info fs.FileInfo) error {
	switch {
	case !info.IsDir():
		return errors.New("it is not a directory")
	case !ownedByUs(info):
		return errors.New("it belongs to another user: run as that user, or use a directory of your own " +
			"(one in it is made if it does not exist)")
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("it is open to other users (mode %04o): run chmod 0700 %s, or use a new directory in it", info.Mode().Perm(), path)
	}
	return nil
}

// socketDir returns the directory of the sockets: the data directory or, where their paths would be
// too long, one in the run-time directory.
func socketDir(dir, runtimeDir string) (string, error) {
	if len(filepath.Join(dir, socketName)) <= maxSocket {
		return dir, nil
	}
	sum := sha256.Sum256([]byte(dir))
	sockets := filepath.Join(runtimeDir, "data-"+hex.EncodeToString(sum[:6]))
	if n := len(filepath.Join(sockets, socketName)); n > maxSocket {
		return "", fmt.Errorf("data directory %s: its socket's path would be longer than the %d bytes of the system, "+
			"and so would one in %s: use a directory with a shorter path", dir, maxSocket, runtimeDir)
	}
	return sockets, makeSocketDir(sockets)
}

// makeSocketDir makes a directory for sockets in the run-time directory, which is made as well, if it is not there.
func makeSocketDir(sockets string) error {
	for _, d := range []string{filepath.Dir(sockets), sockets} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("directory of the socket: %w", err)
		}
		info, err := os.Lstat(d) // not a link of somebody who can write to the directory above
		if err == nil {
			err = checkPrivate(d, info)
		}
		if err != nil {
			return fmt.Errorf("directory of the socket %s: %w", d, plain(err))
		}
	}
	return nil
}

// checkFiles returns an error if the server would not load what is in the directory.
func (p place) checkFiles(prog program) error {
	has := func(name string) bool {
		_, err := os.Lstat(p.file(name))
		return err == nil
	}
	switch {
	case has(aofDir) && prog.major < 7:
		return as(ErrDir, fmt.Errorf("data directory %s: Redis 7 or newer has written it, and %s is version %s, which would not see the data: "+
			"install the newer one again", p.dir, prog.path, prog.version))
	case has(rdbFile) && !has(aofDir) && !has(aofFile):
		return as(ErrDir, fmt.Errorf("data directory %s: it has a %s and no AOF: the server would not load it; move that file away, "+
			"and restore it with the command \"data restore\" if it has data that you need", p.dir, rdbFile))
	}
	if left := p.cutRestore(); left != "" && !has(aofDir) && !has(aofFile) {
		return as(ErrDir, fmt.Errorf("data directory %s: a restore has not come to its end: run \"data restore\" again, "+
			"or move what is in the newest %s* back; without %s in it the directory begins empty", p.dir, replacedPrefix, left))
	}
	if pid, name := stranger(p.dir); pid != 0 {
		return as(ErrInUse, fmt.Errorf("data directory %s: a %s that this program has not started (process %d) works there: "+
			"stop it, or use another directory", p.dir, name, pid))
	}
	return nil
}

// cutRestore returns the name of a directory that a restore leaves which is cut off, or of one with replaced data; "" for none.
func (p place) cutRestore() string {
	entries, _ := os.ReadDir(p.dir) // not Glob: the path may have any characters
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), restoreName+"-") || strings.HasPrefix(e.Name(), replacedPrefix) {
			return e.Name()
		}
	}
	return ""
}

// plain returns the error without the path that the text around it has.
func plain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
