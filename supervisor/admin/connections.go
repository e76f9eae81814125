package admin

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// MaxConnections is the default of [Config.Connections].
const MaxConnections = 256

// connections bounds the open connections of a server. One more closes another one, so that
// whoever opens many shuts out nobody: accepting no more would do that.
type connections struct {
	limit int

	mu   sync.Mutex
	open map[net.Conn]*connection
	idle list.List // connections without a request, idle longest first
	busy list.List // connections whose request has begun, longest first
}

// connection is a place in one of the two lists.
type connection struct {
	in *list.List
	at *list.Element
}

func newConnections(limit int) *connections {
	return &connections{limit: limit, open: map[net.Conn]*connection{}}
}

// any reports whether a connection is open.
func (c *connections) any() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) > 0
}

// changed follows the states of a connection; it is the hook of [http.Server].
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if victim := c.enter(conn, state); victim != nil {
		_ = victim.Close()
	}
}

// enter notes the state. It returns the connection to close if there is one too many.
func (c *connections) enter(conn net.Conn, state http.ConnState) (victim net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(c.open) >= c.limit {
			victim = c.oldest()
			c.remove(victim)
		}
		c.open[conn] = &connection{in: &c.idle, at: c.idle.PushBack(conn)}
	case http.StateActive:
		c.move(conn, &c.busy)
	case http.StateIdle:
		c.move(conn, &c.idle)
	case http.StateClosed, http.StateHijacked:
		c.remove(conn)
	}
	return victim
}

// oldest returns the connection that was idle longest or, if none is idle, the one whose
// request began first.
func (c *connections) oldest() net.Conn {
	first := c.idle.Front()
	if first == nil {
		first = c.busy.Front()
	}
	conn, _ := first.Value.(net.Conn)
	return conn
}

func (c *connections) move(conn net.Conn, to *list.List) {
	if at := c.open[conn]; at != nil { // it may have been the victim
		at.in.Remove(at.at)
		at.in, at.at = to, to.PushBack(conn)
	}
}

func (c *connections) remove(conn net.Conn) {
	if at := c.open[conn]; at != nil {
		at.in.Remove(at.at)
		delete(c.open, conn)
	}
}
