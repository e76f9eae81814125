package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Clock lets a test step the clock that programs see of a Redis: TIME as a command and
// in scripts. It rewrites the commands of its connections, so that it works on every
// kind of Redis. Redis's own clock, which ends the lifetimes of keys, goes on.
type Clock struct {
	ahead atomic.Int64 // seconds
}

// Step moves the clock by d, in whole seconds, ahead or back.
func (c *Clock) Step(d time.Duration) { c.ahead.Add(int64(d / time.Second)) }

// Through returns cfg with connections that see the clock. cfg is that of [Embedded] or
// [Start].
func (c *Clock) Through(cfg link.Config) link.Config {
	dial := cfg.Dial
	if dial == nil {
		path := strings.TrimPrefix(cfg.URL, "unix://")
		dial = func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) }
	}
	cfg.URL, cfg.Dial = "", func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &clockConn{Conn: conn, clock: c}, nil
	}
	return cfg
}

// clockConn is one connection through a [Clock].
type clockConn struct {
	net.Conn
	clock *Clock
	held  []byte // the beginning of a command that is not complete yet
}

// Write sends the complete commands and holds the rest back. A client writes from one
// goroutine at a time.
func (c *clockConn) Write(b []byte) (int, error) {
	c.held = append(c.held, b...)
	var out []byte
	for {
		words, rest, ok := command(c.held)
		if !ok {
			break
		}
		if ahead := c.clock.ahead.Load(); ahead != 0 {
			out = append(out, encode(stepped(words, ahead))...)
		} else {
			out = append(out, c.held[:len(c.held)-len(rest)]...)
		}
		c.held = rest
	}
	if len(out) == 0 {
		return len(b), nil
	}
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// stepped returns a command that sees the clock so many seconds ahead.
func stepped(words [][]byte, ahead int64) [][]byte {
	switch strings.ToLower(string(words[0])) {
	case "evalsha": // Redis may know the script without the step
		words[1] = bytes.Repeat([]byte("0"), 40)
	case "eval":
		words[1] = []byte(step(string(words[1]), ahead))
	case "time":
		return [][]byte{[]byte("eval"), []byte(step("return redis.call('TIME')", ahead)), []byte("0")}
	}
	return words
}

// step returns a script whose clock is that many seconds ahead.
func step(source string, ahead int64) string {
	return strings.ReplaceAll(source, "redis.call('TIME')", fmt.Sprintf(
		"(function(t) return {string.format('%%.0f', t[1] + %d), t[2]} end)(redis.call('TIME'))", ahead))
}

// command splits off the first command, an array of bulk strings, and reports whether it
// is complete.
func command(b []byte) (words [][]byte, rest []byte, complete bool) {
	n, b, ok := header(b, '*')
	if !ok {
		return nil, nil, false
	}
	words = make([][]byte, n)
	for i := range words {
		var size int
		if size, b, ok = header(b, '$'); !ok || len(b) < size+2 {
			return nil, nil, false
		}
		words[i], b = b[:size:size], b[size+2:]
	}
	return words, b, len(words) > 0
}

// header reads a line of a mark and a number.
func header(b []byte, mark byte) (n int, rest []byte, complete bool) {
	line, rest, found := bytes.Cut(b, []byte("\r\n"))
	if !found || len(line) == 0 || line[0] != mark {
		return 0, nil, false
	}
	n, err := strconv.Atoi(string(line[1:]))
	return n, rest, err == nil
}

func encode(words [][]byte) []byte {
	out := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		out = fmt.Appendf(out, "$%d\r\n%s\r\n", len(w), w)
	}
	return out
}
