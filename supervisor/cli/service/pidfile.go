package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
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
	if err := replace(path, strconv.Itoa(os.Getpid())+"\n"); err != nil {
		return nil, fmt.Errorf("pidfile %s: %w", path, WithoutPath(err))
	}
	return func() error {
		if pid, err := readPID(path); err != nil || pid != os.Getpid() {
			return err
		}
		return os.Remove(path)
	}, nil
}

// replace puts a file with that text, which everybody may read, at path. Others may be able
// to write to the directory: the file is made under a name that nobody can know.
func replace(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Chmod(0o644) // whatever the umask
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// maxPIDFile is the size of the largest file that is accepted as a pidfile, in bytes.
const maxPIDFile = 64

var errNoPID = errors.New("it is not the number of a process: remove it, or use another file")

// readPID returns the PID in the file, or 0 if the file is empty or does not exist.
func readPID(path string) (int, error) {
	text, err := link.ReadFile(path, maxPIDFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case errors.Is(err, link.ErrNotRegular), errors.Is(err, link.ErrFileTooLarge):
		return 0, errNoPID
	case err != nil:
		return 0, WithoutPath(err)
	}
	number := strings.TrimSpace(string(text))
	if number == "" {
		return 0, nil
	}
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return 0, errNoPID
	}
	return pid, nil
}
