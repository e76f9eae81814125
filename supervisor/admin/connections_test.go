package admin_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/admin"
)

// patient is how long a test waits for what has to happen.
const patient = time.Minute

// serve serves the pages of a set with at most that many connections, and returns the address.
func serve(t *testing.T, connections int) string {
	t.Helper()
	s, err := admin.Listen(t.Context(), admin.Config{Addr: "127.0.0.1:0", Set: set{1, 1}, Connections: connections})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	t.Cleanup(func() { require.NoError(t, <-served) })
	return s.Addr().String()
}

// caller is a client's connection.
type caller struct {
	net.Conn

	answers *bufio.Reader
}

func dial(t *testing.T, addr, say string) *caller {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patient)))
	_, _ = io.WriteString(c, say) // the server may have closed it by now
	return &caller{c, bufio.NewReader(c)}
}

const request = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// ask sends a request and reads its response.
func (c *caller) ask() error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	return c.answer()
}

func (c *caller) answer() error {
	r, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", r.StatusCode)
	}
	return err
}

// closed waits until the server has closed the connection.
func (c *caller) closed() bool {
	_, err := io.Copy(io.Discard, c.answers)
	return err == nil || !isTimeout(err)
}

func isTimeout(err error) bool {
	var n net.Error
	ok := errors.As(err, &n)
	return ok && n.Timeout()
}

// Whoever opens many connections, whatever they send, shuts out nobody.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]string{
		"silent": "", "half a header": "GET /healthz HTTP/1.1\r\nHost: x", "idle": request, "no HTTP": "\x16\x03\x01", "many headers": request + request,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit, attackers = 8, 300
			addr := serve(t, limit)
			closed := make(chan bool, attackers)
			for i := range attackers {
				c := dial(t, addr, say)
				go func() { closed <- c.closed() }()
				if i%100 == 99 {
					require.NoError(t, dial(t, addr, "").ask())
				}
			}
			for range attackers - limit {
				require.True(t, <-closed, "it is one too many")
			}
		})
	}
}

// A request whose header does not come to its end is given up, also where there is room.
func TestAHeaderHasToEnd(t *testing.T) {
	require.True(t, dial(t, serve(t, 8), "GET /healthz HTTP/1.1\r\nHost:").closed())
}
