package ownredis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// Report says what [Check] has found.
type Report struct {
	Dir     string `json:"dir"`
	Running bool   `json:"running"` // a server runs on the directory
	Version string `json:"version"` // of the program that has loaded a copy
	Bytes   int64  `json:"bytes"`   // size of the data's files
	Keys    int64  `json:"keys"`    // that could be loaded
	// Torn is how many bytes at the end are a write that was cut off: the next start leaves it out.
	Torn int64 `json:"torn"`
	// Damaged says why the server would not start; "" if it would.
	Damaged string `json:"damaged,omitempty"`
	// File is the damaged file, Whole how many bytes of it can be read, and Lost how many cannot:
	// they would be lost if the file was cut off there. Where File is "", nothing of the data can be
	// read by its own.
	File  string `json:"file,omitempty"`
	Whole int64  `json:"whole,omitempty"`
	Lost  int64  `json:"lost,omitempty"`
}

// Check has a server load a copy of the data. The server on the directory, if one runs, goes on
// working; the copy needs as much room on the disk, and in memory, as the data.
func Check(ctx context.Context, cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(supported(), cfg.validate()); err != nil {
		return Report{}, err
	}
	prog, err := findProgram(ctx, cfg.Program)
	if err != nil {
		return Report{}, err
	}
	at, err := existing(cfg.Dir)
	if err != nil {
		return Report{}, err
	}
	r := Report{Dir: at.dir, Running: at.running(), Version: prog.version}
	if !at.hasData() {
		return r, nil
	}
	s, err := newScratch(cfg, prog, at, "check")
	if err != nil {
		return r, err
	}
	defer s.remove()
	if r.Bytes, err = copyData(at, s.place); err != nil {
		return r, err
	}
	if files, err := s.place.dataFiles(); err == nil && len(files) == 0 {
		return r, nil
	}
	err = s.check(ctx, &r)
	return r, err
}

func (s scratch) check(ctx context.Context, r *Report) error {
	found, err := firstDamage(s.place)
	if err != nil {
		return err
	}
	r.Keys, err = s.load(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrDamaged):
		r.Damaged = err.Error()
		r.File, r.Whole, r.Lost = found.file, found.whole, found.lost
		return nil
	case err != nil:
		return err
	case !r.Running: // a copy of a file that is written to may end in the middle
		if r.Torn = found.lost; r.Torn == 0 {
			r.Torn = s.cutOff(r.Bytes)
		}
	}
	return nil
}

// offset matches where a server has cut its AOF.
var offset = regexp.MustCompile(`Truncating the AOF.* at offset (\d+)`)

// cutOff returns how many bytes the server has cut off an AOF that begins with an RDB, and had that
// size.
func (s scratch) cutOff(size int64) int64 {
	m := offset.FindStringSubmatch(s.tail.quote("Truncating the AOF"))
	if m == nil {
		return 0
	}
	at, _ := strconv.ParseInt(m[1], 10, 64)
	return max(size-at, 0)
}

// damage is where a file stops being whole commands.
type damage struct {
	file  string // relative to the directory; "" for none
	whole int64  // bytes before
	lost  int64  // bytes behind, also of the files behind that one
}

// firstDamage returns that of the first of the files of commands that has one. Files that are
// missing are the server's to tell.
func firstDamage(p place) (found damage, err error) {
	files, err := p.dataFiles()
	if err != nil {
		return damage{}, nil //nolint:nilerr // as above
	}
	for _, name := range files {
		switch at, size, err := p.wholeIn(name); {
		case errors.Is(err, os.ErrNotExist):
			return damage{}, nil
		case err != nil:
			return damage{}, err
		case found.file != "":
			found.lost += size
		case at < size:
			found = damage{name, at, size - at}
		}
	}
	return found, nil
}

// wholeIn returns how many bytes of the file are whole commands, all of an RDB, and its size.
func (p place) wholeIn(name string) (whole, size int64, err error) {
	info, err := os.Stat(p.file(name))
	if err != nil {
		return 0, 0, err
	}
	binary, err := isRDB(p.file(name))
	if binary || err != nil {
		return info.Size(), info.Size(), err
	}
	f, err := os.Open(p.file(name))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	whole, _ = wholeCommands(f) // why the rest is not is the server's to tell
	return whole, info.Size(), nil
}

// isRDB reports whether the file begins as an RDB, which commands may follow.
func isRDB(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 5)
	n, _ := f.Read(head)
	return string(head[:n]) == "REDIS" || string(head[:n]) == "VALKE", nil
}

// copies is how often the data is copied while a server replaces its files.
const copies = 5

// copyData copies the files that a server would load, and returns their size.
func copyData(from, to place) (size int64, err error) {
	for range copies {
		if size, err = copyOnce(from, to); !errors.Is(err, errReplaced) {
			return size, err
		}
	}
	return 0, err
}

var errReplaced = errors.New("the server replaces its files all the time: try again")

func copyOnce(from, to place) (size int64, err error) {
	if err := errors.Join(os.RemoveAll(to.file(aofDir)), os.RemoveAll(to.file(aofFile)), os.Mkdir(to.file(aofDir), 0o700)); err != nil {
		return 0, err
	}
	files, err := from.dataFiles()
	if err != nil {
		return 0, as(ErrDamaged, fmt.Errorf("data directory %s: %w", from.dir, err))
	}
	manifest, _ := os.ReadFile(from.file(from.manifest()))
	if len(manifest) > 0 {
		if err := os.WriteFile(to.file(to.manifest()), manifest, 0o600); err != nil { //nolint:gosec // the path is not from the file
			return 0, err
		}
	} else if err := os.Remove(to.file(aofDir)); err != nil {
		return 0, err
	}
	for _, name := range files {
		n, err := copyFile(to.file(name), from.file(name))
		if errors.Is(err, os.ErrNotExist) {
			continue // replaced, or missing, as the server will say
		}
		if err != nil {
			return 0, err
		}
		size += n
	}
	if now, _ := os.ReadFile(from.file(from.manifest())); !bytes.Equal(now, manifest) {
		return 0, errReplaced
	}
	return size, nil
}

// AOFToFix returns the path to give to redis-check-aof.
func (r Report) AOFToFix() string {
	at := place{dir: r.Dir}
	if _, err := os.Stat(at.file(aofDir)); err == nil {
		return at.file(at.manifest())
	}
	return filepath.Join(r.Dir, aofFile)
}
