package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ErrNoReader reports that a log file is a pipe that nobody reads.
var ErrNoReader = errors.New("nobody reads this pipe")

// LogFile is an [io.Writer] that appends to a file. Before each write it checks whether
// the file is still at its path, and reopens the path if the file was moved or removed:
// so a log rotation needs no signal. The file may be a named pipe: lines that are written
// while nobody reads it are lost. A LogFile may be used concurrently.
type LogFile struct {
	path string

	mu   sync.Mutex
	file *os.File // nil while nobody reads the pipe
	info os.FileInfo
}

// OpenLogFile opens the file at path for appending. It creates a missing file with mode
// 0640, less the umask. A pipe that nobody reads is no error: a log shipper may start
// later. A link of another user than this one or root is an [ErrForeignLink].
func OpenLogFile(path string) (*LogFile, error) {
	l := &LogFile{path: path}
	if err := l.open(); err != nil && !errors.Is(err, ErrNoReader) {
		return nil, fmt.Errorf("log file %s: %w", path, WithoutPath(err))
	}
	return l, nil
}

// CheckLogFile returns the error with which [OpenLogFile] would fail, or an [ErrNoReader].
// It does not create the file.
func CheckLogFile(path string) error {
	f, err := openForWriting(path, os.O_APPEND)
	switch {
	case err == nil:
		err = f.Close()
	case errors.Is(err, fs.ErrNotExist):
		err = checkDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("log file %s: %w", path, WithoutPath(err))
	}
	return nil
}

// checkDirectory returns an error unless files can be made in the directory.
func checkDirectory(dir string) error {
	f, err := os.CreateTemp(dir, ".stellar-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (l *LogFile) open() error {
	f, err := openForWriting(l.path, os.O_APPEND|os.O_CREATE)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.info = f, info
	return nil
}

// Write appends b to the file. If the file is no longer at its path and the path cannot
// be opened, Write continues with the open file. The error is an [ErrNoReader] for a pipe
// that nobody has read yet.
func (l *LogFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if info, err := os.Stat(l.path); l.file == nil || err != nil || !os.SameFile(info, l.info) {
		_ = l.open()
	}
	if l.file == nil {
		return 0, ErrNoReader
	}
	return l.file.Write(b)
}

// Close closes the file.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
