package service

import (
	"fmt"
	"os"
	"sync"

	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// LogFile appends to a file. Before each write it looks whether the path still
// leads to the file, and opens it anew where somebody has moved or removed it:
// so a log rotation needs no signal.
type LogFile struct {
	path string

	mu   sync.Mutex
	file *os.File
	info os.FileInfo
}

// OpenLogFile opens the file, and makes it with mode 0640 where there is none.
func OpenLogFile(path string) (*LogFile, error) {
	l := &LogFile{path: path}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("log file %s: %w", path, config.WithoutPath(err))
	}
	return l, nil
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

// Write implements io.Writer. Where the path leads nowhere and cannot be opened,
// the file that is open goes on.
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
