package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// ErrRunning says that the file names another process that is alive.
var ErrRunning = errors.New("is running")

// CheckPIDFile reports what would keep [WritePIDFile] from writing the file. One
// that is left of a process that has ended is fine.
func CheckPIDFile(path string) error {
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("pidfile %s: %w", path, config.WithoutPath(err))
	} else if !info.IsDir() {
		return fmt.Errorf("pidfile %s: %s is not a directory", path, filepath.Dir(path))
	}
	pid, err := readPID(path)
	if err != nil {
		return fmt.Errorf("pidfile %s: %w", path, err)
	}
	if pid != 0 && pid != os.Getpid() && alive(pid) {
		return fmt.Errorf("pidfile %s: process %d %w: stop it, or use another file", path, pid, ErrRunning)
	}
	return nil
}

// WritePIDFile writes the number of this process into the file, in one step for
// those who read it. remove removes the file, unless it names another process by then.
func WritePIDFile(path string) (remove func() error, err error) {
	if err := CheckPIDFile(path); err != nil {
		return nil, err
	}
	text := strconv.Itoa(os.Getpid()) + "\n"
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	err = os.WriteFile(temporary, []byte(text), 0o600)
	if err == nil {
		err = os.Chmod(temporary, 0o644) //nolint:gosec // everybody may read it, whatever the umask
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return nil, fmt.Errorf("pidfile %s: %w", path, config.WithoutPath(err))
	}
	return func() error {
		if pid, err := readPID(path); err != nil || pid != os.Getpid() {
			return err
		}
		return os.Remove(path)
	}, nil
}

// maxPIDFile is the largest file that is taken for a pidfile, in bytes.
const maxPIDFile = 64

// readPID returns the number in the file, 0 when there is none or no file.
func readPID(path string) (int, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, config.WithoutPath(err)
	}
	var text []byte
	if info.Mode().IsRegular() && info.Size() <= maxPIDFile {
		if text, err = os.ReadFile(path); err != nil {
			return 0, config.WithoutPath(err)
		}
	}
	number := strings.TrimSpace(string(text))
	if number == "" && info.Mode().IsRegular() && info.Size() <= maxPIDFile {
		return 0, nil
	}
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return 0, errors.New("it is not the number of a process: remove it, or use another file")
	}
	return pid, nil
}
