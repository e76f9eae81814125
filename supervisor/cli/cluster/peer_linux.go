package cluster

import (
	"cmp"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf returns the number of the user whose process listens at the other end.
func peerOf(c *net.UnixConn, _ string) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || failed != nil {
		return 0, cmp.Or(err, failed)
	}
	return int(peer.Uid), nil
}
