package ownredis

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rs/zerolog"
)

// Durability is when Redis flushes what it has acknowledged to the disk: its option appendfsync.
type Durability string

// Levels of durability.
const (
	// EverySecond flushes once a second: a loss of power can undo the last second. The death of
	// the server alone undoes nothing, as the system has what it wrote.
	EverySecond Durability = "everysec"
	// Always flushes before each acknowledgement.
	Always Durability = "always"
)

// Errors of [Open], [Find] and the functions for the data of a server that does not run.
var (
	// ErrNotInstalled reports that there is no redis-server or valkey-server of a version that
	// this package can use.
	ErrNotInstalled = errors.New("no redis-server")
	// ErrDir reports that the directory cannot be used: its owner, its mode, or what is in it.
	ErrDir = errors.New("the data directory cannot be used")
	// ErrInUse reports that another process runs a server on the directory.
	ErrInUse = errors.New("the data directory is in use")
	// ErrDamaged reports that the server cannot load the files in the directory.
	ErrDamaged = errors.New("the data is damaged")
	// ErrNotRunning reports that no server runs on the directory.
	ErrNotRunning = errors.New("no server runs on the data directory")
	// ErrUnsupported reports a system that has no file locks or no Unix sockets.
	ErrUnsupported = errors.New("a Redis of one's own needs Linux, macOS or BSD")
)

// Config configures [Open].
type Config struct {
	// Dir has the data, for this user alone: mode 0700. It is made if it does not exist.
	Dir string
	// Durability is [EverySecond] by default. A server that runs already takes it over.
	Durability Durability
	// RuntimeDir has the socket if the path in Dir would be too long for the system. It is made,
	// with mode 0700, if it does not exist. Default: stellar-UID in [os.TempDir].
	RuntimeDir string
	// Program is the path of the server's program. Default: redis-server on the PATH, or else
	// valkey-server.
	Program string
	// Owner is the lock of the directory's owner, if this process has it already: it did so when it ran another
	// program, see [Server.Owner]. Open closes it if it is that of another directory.
	Owner *os.File
	// Log gets the server's lines, and what happens to it.
	Log zerolog.Logger
}

func (c Config) withDefaults() Config {
	c.Durability = cmp.Or(c.Durability, EverySecond)
	c.RuntimeDir = cmp.Or(c.RuntimeDir, filepath.Join(os.TempDir(), "stellar-"+strconv.Itoa(os.Getuid())))
	return c
}

func (c Config) validate() error {
	if c.Dir == "" {
		return as(ErrDir, errors.New("no data directory is given"))
	}
	return c.Durability.Validate()
}

// Validate returns an error unless d is one of the levels.
func (d Durability) Validate() error {
	if d != EverySecond && d != Always {
		return fmt.Errorf("%q: use %s or %s", string(d), EverySecond, Always)
	}
	return nil
}

// as returns an error with the text of err that matches kind as well.
func as(kind, err error) error { return &kindError{kind, err} }

type kindError struct{ kind, err error }

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }
