package service

import (
	"io/fs"
	"os"
	"path/filepath"
)

// SameFile reports whether two paths lead to one file, which need not exist yet. A device
// such as /dev/null counts as many files.
func SameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y) && x.Mode()&fs.ModeDevice == 0
	}
	return resolve(a) == resolve(b)
}

// maxLinks is how many links resolve follows, so that a circle ends.
const maxLinks = 40

// resolve returns the absolute path to which a path leads, also if there is no file yet.
func resolve(path string) string {
	for range maxLinks {
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(dir, filepath.Base(path))
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}
