package resp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/redisbus/resp"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// server returns a client whose connections f serves. Its address is a number: the client
// looks names up, and the system's resolver belongs to the bubble that first asks it.
func server(t *testing.T, f func(net.Conn)) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { f(far); _ = far.Close() }()
		return near, nil
	}})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// listen returns the events of one connection, and why it ended.
func listen(t *testing.T, l resp.Listener) (events []resp.Event, err error) {
	if l.Begin == nil {
		l.Begin = func(*resp.Conn) error { return nil }
	}
	l.Largest = 4
	l.Handle = func(e resp.Event) { events = append(events, e) }
	l.Lost = func(_ int, lost error) bool { err = lost; return false }
	l.Serve(t.Context())
	return events, err
}

func TestEvents(t *testing.T) {
	message := func(text string) resp.Event {
		return resp.Event{Kind: resp.Message, Channel: "c", Payload: []byte(text)}
	}
	tooLarge := resp.Event{Kind: resp.Message, Channel: "c", TooLarge: true}
	const head = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n"
	for name, c := range map[string]struct {
		sent string
		want []resp.Event
	}{
		"a message":           {head + "$2\r\nhi\r\n", []resp.Event{message("hi")}},
		"an empty message":    {head + "$0\r\n\r\n", []resp.Event{message("")}},
		"the largest message": {head + "$4\r\nlong\r\n", []resp.Event{message("long")}},
		"too large":           {head + "$5\r\nlarge\r\n" + head + "$2\r\nhi\r\n", []resp.Event{tooLarge, message("hi")}},
		"larger than the buffer": {
			head + "$100000\r\n" + strings.Repeat("x", 100_000) + "\r\n" + head + "$2\r\nhi\r\n", []resp.Event{tooLarge, message("hi")},
		},
		"several": {
			head + "*3\r\n$1\r\na\r\n$5\r\nlarge\r\n$1\r\nb\r\n" + head + "$2\r\nhi\r\n",
			[]resp.Event{message("a"), tooLarge, message("b"), message("hi")},
		},
		"none":             {head + "*0\r\n" + head + "$2\r\nhi\r\n", []resp.Event{message("hi")}},
		"null":             {head + "*-1\r\n" + head + "$-1\r\n", []resp.Event{{Kind: resp.Message, Channel: "c"}, {Kind: resp.Message, Channel: "c"}}},
		"a confirmation":   {"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", []resp.Event{{Kind: resp.Subscribed, Channel: "c"}}},
		"answers to PING":  {"+PONG\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n", []resp.Event{{}, {}}},
		"a refusal":        {"-NOPERM no\r\n", nil},
		"a line too long":  {"+" + strings.Repeat("x", 100_000), nil},
		"not the protocol": {"HTTP/1.1 400 Bad Request\r\n", nil},
		"arrays in arrays": {head + "*1\r\n*1\r\n$1\r\na\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			client := server(t, func(conn net.Conn) { _, _ = io.WriteString(conn, c.sent) })
			got, err := listen(t, resp.Listener{Client: client})
			require.Error(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// After half of the silence a PING is sent; if nothing comes after that, the connection is dead.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		client := server(t, func(conn net.Conn) {
			in := bufio.NewReader(conn)
			for range 10 {
				_, err := io.ReadFull(in, make([]byte, len("*1\r\n$4\r\nping\r\n")))
				require.NoError(t, err)
				_, _ = io.WriteString(conn, "+PONG\r\n")
			}
			_, _ = io.Copy(io.Discard, in)
		})
		got, err := listen(t, resp.Listener{Client: client, Silence: time.Minute})
		require.Len(t, got, 10)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.Equal(t, 6*time.Minute, time.Since(began))
	})
}

// A message that takes longer than the silence comes whole.
func TestSlowMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := server(t, func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for _, b := range []byte("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n") {
				time.Sleep(40 * time.Second)
				_, _ = conn.Write([]byte{b})
			}
		})
		reads := 0
		got, _ := listen(t, resp.Listener{Client: client, Silence: time.Minute, Received: func() { reads++ }})
		require.Equal(t, []resp.Event{{Kind: resp.Message, Channel: "c", Payload: []byte("hi")}}, got)
		require.Greater(t, reads, 30)
	})
}

func TestListenerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures []int
		l := resp.Listener{
			Client: server(t, func(conn net.Conn) {
				if n := len(failures); n == 3 || n == 4 {
					_, _ = io.WriteString(conn, "+PONG\r\n")
				}
			}),
			Begin: func(*resp.Conn) error { return nil }, Handle: func(resp.Event) {},
			Lost: func(n int, err error) bool {
				require.ErrorIs(t, err, io.EOF)
				failures = append(failures, n)
				return len(failures) < 7
			},
		}
		l.Serve(t.Context())
		require.Equal(t, []int{1, 2, 3, 1, 1, 2, 3}, failures)
	})
}

// A Ring has no server of which one could know that it hears everything.
func TestRingIsRefused(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{})
	defer func() { _ = ring.Close() }()
	_, err := resp.Dial(t.Context(), ring)
	require.ErrorContains(t, err, "use a *redis.Client")
}

func TestDialEndsWithItsContext(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Username: "u", Password: "p", Dialer: func(context.Context, string, string) (net.Conn, error) {
		near, _ := net.Pipe()
		return near, nil
	}})
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := resp.Dial(ctx, client)
	require.ErrorIs(t, err, io.ErrClosedPipe)
}
