package resp

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Listener hears what Redis sends on a connection of its own, and opens another one whenever
// it breaks. The functions are called by one goroutine.
type Listener struct {
	// Client's options say how to connect (see [Dial]).
	Client redis.UniversalClient
	// Largest is the most bytes of a payload.
	Largest int
	// Silence is after how long a connection is dead on which nothing was received. After half
	// of that the listener sends a PING, so that something is. 0: for ever.
	Silence time.Duration
	// Begin subscribes. It is called with every new connection.
	Begin func(*Conn) error
	// Received, when set, is called after every read: also a message that takes long shows that
	// the connection works.
	Received func()
	// Handle gets every event.
	Handle func(Event)
	// Lost is told that a connection ended, or could not be opened, how many in a row have
	// without an event, and why. The listener goes on if Lost returns true.
	Lost func(failures int, err error) bool
}

// Serve listens until ctx ends or Lost returns false. Between two connections it waits for
// [link.Pause].
func (l *Listener) Serve(ctx context.Context) {
	for failures := 1; ctx.Err() == nil; failures++ {
		heard, err := l.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 1
		}
		if !l.Lost(failures, err) {
			return
		}
		_ = link.Sleep(ctx, link.Pause(failures))
	}
}

// listen listens on one connection, and reports whether there was an event.
func (l *Listener) listen(ctx context.Context) (heard bool, err error) {
	c, err := Dial(ctx, l.Client)
	if err != nil {
		return false, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	c.largest, c.channels = l.Largest, map[string]string{}
	if err := l.Begin(c); err != nil {
		return false, err
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	c.silence, c.received = l.Silence, l.Received
	for {
		event, err := c.next()
		if err != nil {
			return heard, err
		}
		heard = true
		l.Handle(event)
	}
}
