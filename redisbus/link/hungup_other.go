//go:build !unix

package link

import "net"

// HungUp reports whether the peer has closed a connection, as far as the system tells: here it
// never does.
func HungUp(net.Conn) bool { return false }
