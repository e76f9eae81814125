package link

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is the error of [OpenRegular] and [ReadFile] for what is no regular file.
var ErrNotRegular = errors.New("it is not a regular file")

// ErrFileTooLarge is the error of [ReadFile] for a file that is larger than its limit.
var ErrFileTooLarge = errors.New("it is too large")

// OpenRegular opens a regular file for reading. It never waits, as opening a pipe without a
// writer does. A symbolic link is followed; a directory, pipe or device is an [ErrNotRegular].
func OpenRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
		if info.IsDir() {
			err = &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w but a directory", ErrNotRegular)}
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile reads a regular file of at most limit bytes. It never waits, see [OpenRegular].
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: more than %d bytes", ErrFileTooLarge, limit)}
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}
