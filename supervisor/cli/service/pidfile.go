package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrRunning reports that the pidfile names another process that is alive.
var ErrRunning = errors.New("is running")

// CheckPIDFile returns an error if [WritePIDFile] cannot or must not write the file: its
// directory does not exist or takes no files, it is no pidfile, or it names a live process
// ([ErrRunning]). A pidfile
// of a process that has ended may be overwritten.
func CheckPIDFile(path string) error {
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("pidfile %s: %w", path, WithoutPath(err))
	} else if !info.IsDir() {
		return fmt.Errorf("pidfile %s: %s is not a directory", path, filepath.Dir(path))
	}
	pid, err := readPID(path)
	if err == nil {
		err = checkDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("pidfile %s: %w", path, WithoutPath(err))
	}
	if pid != 0 && pid != os.Getpid() && alive(pid) {
		return fmt.Errorf("pidfile %s: process %d %w: stop it, or use another file", path, pid, ErrRunning)
	}
	return nil
}

// WritePIDFile writes the PID of this process into the file. The write is atomic: no
// reader sees a partial file. It returns the errors of [CheckPIDFile] and of the write.
// remove removes the file, unless the file has come to name another process.
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
		return nil, fmt.Errorf("pidfile %s: %w", path, WithoutPath(err))
	}
	return func() error {
		if pid, err := readPID(path); err != nil || pid != os.Getpid() {
			return err
		}
		return os.Remove(path)
	}, nil
}

// maxPIDFile is the size of the largest file that is accepted as a pidfile, in bytes.
const maxPIDFile = 64

// readPID returns the PID in the file, or 0 if the file is empty or does not exist.
func readPID(path string) (int, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, WithoutPath(err)
	}
	var text []byte
	if info.Mode().IsRegular() && info.Size() <= maxPIDFile {
		if text, err = os.ReadFile(path); err != nil {
			return 0, WithoutPath(err)
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
