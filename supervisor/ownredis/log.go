package ownredis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// The server's log is a file and not a pipe: the server outlives the process that reads it, and the
// next one goes on reading.
const (
	// mostLog is the size from which on the file is emptied once it is read, in bytes.
	mostLog = 1 << 20
	// mostLines is how many of the last lines are kept to explain why the server has ended.
	mostLines = 50
)

// tail hands the lines of the server's log to the log of this process.
type tail struct {
	path string
	log  zerolog.Logger

	mu     sync.Mutex
	offset int64
	rest   []byte   // the beginning of a line whose end is not there yet
	last   []string // texts of warnings, and of what the server printed before it had a log
}

// skip goes to the end of the file: what is there is told already, or nobody was there to tell it to.
func (t *tail) skip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest, t.last, t.offset = nil, nil, 0
	if info, err := os.Stat(t.path); err == nil {
		t.offset = info.Size()
	}
}

// read hands on what has come since, and empties a file that has become large.
func (t *tail) read() {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, err := os.Open(t.path)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() < t.offset { // somebody has emptied it
		t.offset = 0
	}
	if _, err := f.Seek(t.offset, io.SeekStart); err != nil {
		return
	}
	text, _ := io.ReadAll(io.LimitReader(f, 4*mostLog))
	t.offset += int64(len(text))
	t.rest = append(t.rest, text...)
	for {
		line, rest, ok := bytes.Cut(t.rest, []byte("\n"))
		if !ok {
			break
		}
		t.line(string(bytes.TrimRight(line, "\r")))
		t.rest = rest
	}
	t.rest = slices.Clone(t.rest)
	if info, err := f.Stat(); err == nil && t.offset >= mostLog && info.Size() == t.offset && os.Truncate(t.path, 0) == nil {
		t.offset = 0
	}
}

// logLine matches a line of the server's log: process, role, time, level, text.
var logLine = regexp.MustCompile(`^(\d+):([A-Z]) (.*?\d\d:\d\d:\d\d\.\d+) ([.*#-]) (.*)$`)

// routine are the beginnings of lines that are warnings to the server and none to its owner.
var routine = []string{
	"oO0OoO0OoO0Oo", "Redis version=", "Valkey version=", "Configuration loaded", "Server initialized", "User requested shutdown",
	"Received SIGTERM", "Error removing the unix socket file", // it has been renamed
	"Redis is now ready to exit", "Valkey is now ready to exit",
}

func (t *tail) line(line string) {
	text, level := line, "#"
	if m := logLine.FindStringSubmatch(line); m != nil {
		text, level = m[5], m[4]
	}
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	begins := func(with string) bool { return strings.HasPrefix(text, with) }
	switch {
	case slices.ContainsFunc(routine, begins), level == "." || level == "-":
		t.log.Debug().Msg("redis: " + text)
	case level == "#":
		t.last = append(t.last, text)
		t.last = t.last[max(0, len(t.last)-mostLines):]
		t.log.Warn().Msg("redis: " + text)
	default:
		t.log.Info().Msg("redis: " + text)
	}
}

// said reports whether one of the last warnings has the text in it.
func (t *tail) said(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.last, func(line string) bool { return strings.Contains(line, text) })
}

// repaired reports whether the server has cut a torn end off its AOF.
func (t *tail) repaired() bool {
	return t.said("AOF loaded anyway") || t.said("loaded anyway because aof-load-truncated")
}

// why returns the error of a server that has ended while it was started, from what it said last.
func (t *tail) why(dir, how string) error {
	for _, known := range []struct {
		texts []string
		kind  error
		text  string
	}{
		{
			[]string{"Can't handle RDB format version"}, ErrDir,
			"a newer version of Redis (or one of Valkey and Redis that is not compatible with the other) has written it: install that one",
		},
		{[]string{"No space left on device", "Disk quota exceeded"}, nil, "the disk is full: make room"},
		{[]string{"Permission denied", "Read-only file system"}, ErrDir, "a file there cannot be written or read"},
		{
			[]string{"reading the append only file"}, ErrDamaged,
			"its AOF is damaged: \"data check\" tells how much of it can be read; copy the directory, then run " +
				"redis-check-aof --fix on its AOF, or restore a backup with \"data restore\"",
		},
		{
			[]string{
				"Short read or OOM loading DB", "Wrong signature", "CRC error", "Internal error in RDB", "Error reading the RDB preamble",
				"Fatal error loading the DB", "AOF manifest file", "Unable to obtain the AOF file", "open the append log file", "doesn't exist",
			},
			ErrDamaged, "a file there is damaged or missing: restore a backup with \"data restore\"",
		},
	} {
		for _, text := range known.texts {
			if !t.said(text) {
				continue
			}
			err := fmt.Errorf("data directory %s: %s (%s)", dir, known.text, t.quote(text))
			if known.kind != nil {
				err = as(known.kind, err)
			}
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	last := how
	if len(t.last) > 0 {
		last = t.last[len(t.last)-1]
	}
	return fmt.Errorf("data directory %s: the server has ended while it was started: %w", dir, errors.New(last))
}

// quote returns the last warning that has the text in it.
func (t *tail) quote(text string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range slices.Backward(t.last) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return text
}
