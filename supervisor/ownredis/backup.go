package ownredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrHasData reports a directory whose data a backup would replace.
var ErrHasData = errors.New("the data directory has data")

// Backup writes the data, as it is at one moment, as an RDB, and returns its size. A server that runs
// goes on working; where none runs, one is started for it. What was written is whole if the error is
// nil: it has the checksum that Redis has given it.
func Backup(ctx context.Context, cfg Config, to io.Writer) (size int64, err error) {
	at, _, err := find(cfg.Dir)
	if err == nil && at.running() {
		return at.backup(ctx, to)
	}
	if err != nil && !errors.Is(err, ErrNotRunning) {
		return 0, err
	}
	if at, err = existing(cfg.Dir); err != nil {
		return 0, err
	}
	if !at.hasData() {
		return 0, as(ErrDir, fmt.Errorf("data directory %s: there is no data", at.dir))
	}
	runtime.LockOSThread() // the server ends with this thread, also if nobody closes it
	defer runtime.UnlockOSThread()
	s, err := openBound(ctx, cfg, true)
	if pid, _ := at.ownerNote(); errors.Is(err, ErrInUse) && errors.Is(at.free(ownerLock), errLocked) {
		return 0, as(ErrInUse, fmt.Errorf("data directory %s: the server of process %s does not run at the moment: "+
			"see the log of that one, and try again when it runs", at.dir, pid))
	}
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		err = errors.Join(err, s.Close(ctx))
	}()
	return s.place.backup(ctx, to)
}

// closeTime is how long a server may take to end that was started for a backup.
const closeTime = time.Minute

func (p place) backup(ctx context.Context, to io.Writer) (size int64, err error) {
	alone, err := lock(p.file("backup.lock"), exclusive)
	if errors.Is(err, errLocked) {
		return 0, as(ErrInUse, fmt.Errorf("data directory %s: another backup of it is being made", p.dir))
	}
	if err != nil {
		return 0, err
	}
	defer alone.Close()
	defer os.Remove(p.file(rdbFile))
	if err := p.save(ctx); err != nil {
		return 0, fmt.Errorf("data directory %s: save a backup: %w", p.dir, err)
	}
	from, err := os.Open(p.file(rdbFile))
	if err != nil {
		return 0, err
	}
	defer from.Close()
	return copyRDB(to, from, false)
}

// save has the server write an RDB, and waits for it.
func (p place) save(ctx context.Context) error {
	c := connect(p.socket())
	defer c.Close()
	for ; ; pause(ctx, look) {
		err := c.BgSave(ctx).Err()
		if err == nil {
			break
		}
		reply, isReply := errors.AsType[redis.Error](err)
		if ctx.Err() != nil || !isReply || !strings.Contains(reply.Error(), "progress") && !strings.Contains(reply.Error(), "BGSAVE") {
			return err
		} // otherwise it saves already, or rewrites its AOF
	}
	for ; ; pause(ctx, look) {
		text, err := c.Info(ctx, "persistence").Result()
		switch {
		case err != nil:
			return err
		case field(text, "rdb_bgsave_in_progress") != "0":
		case field(text, "rdb_last_bgsave_status") != "ok":
			return errors.New("the server could not write it: its log says why (is the disk full?)")
		default:
			return nil
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (p place) hasData() bool {
	for _, name := range []string{aofDir, aofFile, rdbFile} {
		if _, err := os.Lstat(p.file(name)); err == nil {
			return true
		}
	}
	return false
}

// Restored says what [Restore] has done.
type Restored struct {
	Dir  string `json:"dir"`
	Keys int64  `json:"keys"`
	// Replaced is the directory with the data that was there; "" if there was none.
	Replaced string `json:"replaced,omitempty"`
}

// Restore makes the data of a backup, or of any RDB, that of the directory. A server loads it first:
// nothing is changed if it cannot. Data that is there is an [ErrHasData] unless replace is set: then
// it is moved into a directory beside the new one.
func Restore(ctx context.Context, cfg Config, file string, replace bool) (Restored, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(supported(), cfg.validate()); err != nil {
		return Restored{}, err
	}
	prog, err := findProgram(ctx, cfg.Program)
	if err != nil {
		return Restored{}, err
	}
	from, err := os.Open(file)
	if err != nil {
		return Restored{}, as(ErrNoBackup, fmt.Errorf("backup: %w", err))
	}
	defer from.Close()
	at, err := prepare(cfg)
	if err != nil {
		return Restored{}, err
	}
	owner, err := own(ctx, at)
	if pid, _ := at.ownerNote(); errors.Is(err, ErrInUse) {
		err = as(ErrInUse, fmt.Errorf("data directory %s: process %s runs on it: stop that one with TERM, or use another directory", at.dir, pid))
	}
	if err != nil {
		return Restored{}, err
	}
	defer owner.Close()
	switch {
	case at.running():
		return Restored{}, as(ErrInUse, fmt.Errorf("data directory %s: a server runs on it: run a set on it and stop that one with TERM, "+
			"which stops the server", at.dir))
	case at.hasData() && !replace:
		return Restored{}, as(ErrHasData, fmt.Errorf(
			"data directory %s: it has data: use another directory, or have it moved away (--replace)", at.dir))
	}
	s, err := newScratch(cfg, prog, at, restoreName)
	if err != nil {
		return Restored{}, err
	}
	defer s.remove()
	r := Restored{Dir: at.dir}
	if r.Keys, err = s.take(ctx, from); err != nil {
		return r, fmt.Errorf("backup %s: %w", file, err)
	}
	r.Replaced, err = at.replaceWith(s.place)
	return r, err
}

// take makes the RDB the beginning of an AOF, which every version loads, and loads it.
func (s scratch) take(ctx context.Context, from *os.File) (keys int64, err error) {
	to, err := os.OpenFile(s.place.file(aofFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = copyRDB(to, from, true)
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		return 0, err
	}
	keys, err = s.load(ctx)
	if err == nil && s.tail.repaired() {
		err = as(ErrNoBackup, errors.New("it is cut off"))
	}
	return keys, err
}

// replaceWith moves the data of the directory away, and that of the other one into it. Where that is cut off, by a loss of power,
// too, there is no data, and a directory beside it that says so: see checkFiles.
func (p place) replaceWith(other place) (replaced string, err error) {
	if p.hasData() {
		replaced = p.file(replacedPrefix + time.Now().UTC().Format("20060102-150405.000"))
		if err := os.Mkdir(replaced, 0o700); err != nil {
			return "", err
		}
		if err := errors.Join(syncDir(p.dir), move(p.dir, replaced, aofDir, aofFile, rdbFile)); err != nil {
			return replaced, err
		}
	}
	_ = syncDir(other.file(aofDir)) // which an old server does not make
	return replaced, errors.Join(syncDir(other.dir), move(other.dir, p.dir, aofDir, aofFile))
}

// move moves those of the files that are there, and returns when that is on the disk.
func move(from, to string, names ...string) error {
	for _, name := range names {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errors.Join(syncDir(to), syncDir(from))
}
