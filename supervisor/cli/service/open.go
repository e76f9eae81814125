package service

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ErrForeignLink reports a symbolic link that another user has made, perhaps to have this
// process write into a file of its own user.
var ErrForeignLink = errors.New("it is a symbolic link of another user: remove it, or use another file")

var errForeign = errors.New("it belongs to another user: remove it, or use another file")

// openForWriting opens a file without waiting for the reader of a pipe, and without following
// a link of another user, except root.
func openForWriting(path string, flags int) (*os.File, error) {
	flags |= os.O_WRONLY | syscall.O_NONBLOCK
	const mode = 0o640 // its group may read it
	f, err := os.OpenFile(path, flags|noFollow, mode)
	if err != nil { // of a link, whose number differs between systems and with the rights on the directory
		if info, failed := os.Lstat(path); failed == nil && info.Mode()&fs.ModeSymlink != 0 {
			if !trusted(info) {
				return nil, &fs.PathError{Op: "open", Path: path, Err: ErrForeignLink}
			}
			f, err = os.OpenFile(path, flags, mode)
		}
	}
	if errors.Is(err, syscall.ENXIO) {
		if info, failed := os.Stat(path); failed == nil && info.Mode().Type() == fs.ModeNamedPipe {
			return nil, ErrNoReader
		}
	}
	return f, err
}

// OpenDevice opens a pipe or device for writing. The error is an [ErrNoReader] for a pipe
// that nobody reads, and an [ErrForeignLink] for a link of another user. A pipe of another
// user is refused too, as that user would get the data.
func OpenDevice(path string) (*os.File, error) {
	f, err := openForWriting(path, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode()&fs.ModeDevice == 0 && !trusted(info) {
		err = &fs.PathError{Op: "open", Path: path, Err: errForeign}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
