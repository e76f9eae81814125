package demo

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// file is one file as it was when the tree was listed.
type file struct {
	path     string
	size     int64
	modified time.Time
	task     string // id of the task that counts the file
}

// same reports whether the size, type and modification time of the file are as listed.
func (f file) same() bool {
	info, err := os.Lstat(f.path)
	return err == nil && info.Mode().IsRegular() && info.Size() == f.size && info.ModTime().Equal(f.modified)
}

// skipped counts the entries of the tree that are not counted, except directories.
type skipped struct {
	other      int // binary files, symbolic links, devices
	unreadable int
}

// list finds the regular text files under dir, in lexical order, and calls take with
// chunks of up to chunk files.
func list(ctx context.Context, dir string, chunk int, take func([]file) error) (skipped, error) {
	var files []file
	var s skipped
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			s.unreadable++ // a directory that cannot be read, or that was just removed
			return nil     //nolint:nilerr // it is reported as a number
		}
		if e.IsDir() {
			return nil
		}
		if !e.Type().IsRegular() {
			s.other++
			return nil
		}
		info, err := e.Info()
		text := false
		if err == nil {
			text, err = isText(path)
		}
		switch {
		case err != nil:
			s.unreadable++
		case !text:
			s.other++
		default:
			files = append(files, file{path: path, size: info.Size(), modified: info.ModTime()})
		}
		if len(files) < chunk {
			return nil
		}
		full := files
		files = nil
		return take(full)
	})
	if err == nil && len(files) > 0 {
		err = take(files)
	}
	return s, err
}
