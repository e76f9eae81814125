//go:build unix

package service

import (
	"io/fs"
	"os"
	"syscall"
)

// noFollow has an open fail at a symbolic link.
const noFollow = syscall.O_NOFOLLOW

// trusted reports whether a file belongs to this user or to root.
func trusted(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (int(stat.Uid) == os.Geteuid() || stat.Uid == 0)
}
