package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// LogFile is an [io.Writer] that appends to a file. Before each write it checks whether
// the file is still at its path, and reopens the path if the file was moved or removed:
// so a log rotation needs no signal. A LogFile may be used concurrently.
type LogFile struct {
	path string

	mu   sync.Mutex
	file *os.File
	info os.FileInfo
}

// OpenLogFile opens the file at path for appending. It creates a missing file with mode
// 0640, less the umask.
func OpenLogFile(path string) (*LogFile, error) {
	l := &LogFile{path: path}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("log file %s: %w", path, WithoutPath(err))
	}
	return l, nil
}

// CheckLogFile returns the error with which [OpenLogFile] would fail. It does not create
// the file.
func CheckLogFile(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil // such as a pipe, whose reader may come later
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
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
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640) //nolint:gosec // its group may read it
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
// be opened, Write continues with the open file.
func (l *LogFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if info, err := os.Stat(l.path); err != nil || !os.SameFile(info, l.info) {
		_ = l.open()
	}
	return l.file.Write(b)
}

// Close closes the file.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
