//go:build unix && !linux

package cluster

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// peerOf returns the number of the user who made the socket file.
func peerOf(_ *net.UnixConn, path string) (uid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return int(stat.Uid), nil
}
