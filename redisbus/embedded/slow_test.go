package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// outsider is a client that writes what it likes and reads when it likes.
type outsider struct{ net.Conn }

func (o outsider) send(t *testing.T, words ...string) {
	t.Helper()
	require.NoError(t, o.request(words...))
}

func (o outsider) request(words ...string) error {
	text := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	_, err := o.Write([]byte(text))
	return err
}

// eachWay runs the scenario with clients that come through a socket, and through the
// in-process pipe.
func eachWay(t *testing.T, scenario func(t *testing.T, s *embedded.Server, inside *redis.Client, connect func() outsider)) {
	t.Run("socket", func(t *testing.T) {
		s := redistest.Embedded(t)
		socket, err := s.Listen(t.Context(), filepath.Join(t.TempDir(), "s"))
		require.NoError(t, err)
		scenario(t, s, redistest.Client(t, s.Config()), func() outsider {
			c, err := new(net.Dialer).DialContext(t.Context(), "unix", socket.Path())
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			return outsider{c}
		})
	})
	t.Run("pipe", func(t *testing.T) {
		s := redistest.Embedded(t)
		scenario(t, s, redistest.Client(t, s.Config()), func() outsider {
			c, err := s.Dial(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			return outsider{c}
		})
	})
}

func TestClientThatDoesNotReadHoldsNobody(t *testing.T) {
	eachWay(t, func(t *testing.T, s *embedded.Server, inside *redis.Client, connect func() outsider) {
		require.NoError(t, inside.Set(t.Context(), "k", strings.Repeat("x", 100_000), 0).Err())
		slow := connect()
		for range 40 {
			slow.send(t, "GET", "k")
		}
		slow.send(t, "SET", "last", "1")
		require.Eventually(t, func() bool { return inside.Get(t.Context(), "last").Val() == "1" },
			30*time.Second, time.Millisecond, "its own commands run as well")

		other := connect()
		other.send(t, "PING")
		line, err := bufio.NewReader(other).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "+PONG\r\n", line)

		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		select {
		case err := <-closed:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			t.Fatal("the server does not stop")
		}
	})
}

// A reply may be as long as it likes, for a client that reads.
func TestReaderOfALongReplyIsNotCut(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *embedded.Server, inside *redis.Client, connect func() outsider) {
		text := strings.Repeat("x", 4000)
		for range 10 {
			_, err := inside.Pipelined(t.Context(), func(p redis.Pipeliner) error {
				for range 1000 {
					p.RPush(t.Context(), "list", text)
				}
				return nil
			})
			require.NoError(t, err)
		}
		reader := connect()
		for range 2 {
			reader.send(t, "LRANGE", "list", "0", "-1")
		}
		var n int
		lines := bufio.NewScanner(reader)
		for n < 2*10_000 && lines.Scan() {
			if lines.Text() == text {
				n++
			}
		}
		require.Equal(t, 2*10_000, n)
	})
}

func TestMalformedRequestEndsItsConnectionAlone(t *testing.T) {
	s := redistest.Embedded(t)
	socket, err := s.Listen(t.Context(), filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	inside := redistest.Client(t, s.Config())
	for _, text := range []string{
		"*0\r\n", "*-1\r\n", "*\r\n", "PING\r\n", "\r\n", "*1\n", "*1\r\n+PING\r\n", "*2\r\n$3\r\nGET\r\n$-1\r\n",
		"*1\r\n$9223372036854775807\r\n", "*9999999\r\n", "*1\r\n$999999999999\r\n", strings.Repeat("1", 100),
	} {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", socket.Path())
		require.NoError(t, err)
		_, err = c.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
		_, err = c.Read(make([]byte, 1))
		require.Error(t, err, "%q", text)
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "%q: the connection stays", text)
		require.NoError(t, c.Close())
		require.NoError(t, inside.Ping(t.Context()).Err(), "%q", text)
	}
}

func TestLastReplyComesBeforeTheEnd(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *embedded.Server, _ *redis.Client, connect func() outsider) {
		c := connect()
		c.send(t, "QUIT")
		line, err := bufio.NewReader(c).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "+OK\r\n", line)
	})
}

func TestDialHonoursItsContextAndWaitsForNobody(t *testing.T) {
	s := redistest.Embedded(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Dial(ended)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, link.DidNotRun, link.OutcomeOf(err))

	const busy = time.Second
	loop := redistest.Client(t, s.Config())
	looped := make(chan int64, 1)
	go func() {
		began, _ := loop.Eval(t.Context(), loopScript, nil, busy.Milliseconds()).Int64()
		looped <- began
	}()
	type dial struct{ began, ended time.Time }
	var dials []dial
	for {
		d := dial{began: time.Now()}
		c, err := s.Dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		d.ended = time.Now()
		dials = append(dials, d)
		select {
		case began := <-looped:
			require.NotZero(t, began)
			require.True(t, slices.ContainsFunc(dials, func(d dial) bool {
				return d.began.After(time.UnixMilli(began)) && d.ended.Before(time.UnixMilli(began).Add(busy))
			}), "a connection opens while a script runs")
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// loopScript keeps the server busy for ARGV[1] milliseconds. It returns when it began.
const loopScript = `
	local function now() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
	local began = now()
	repeat until now() >= began + ARGV[1]
	return string.format('%.0f', began)`

func TestCloseEndsCommandsThatBlock(t *testing.T) {
	for range 20 {
		s := embedded.New()
		c := redistest.Client(t, s.Config())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = c.BLPop(t.Context(), 0, "none").Err()
		}()
		require.Eventually(t, func() bool { return c.PoolStats().TotalConns > 0 }, time.Minute, time.Millisecond)
		require.NoError(t, s.Close())
		<-ended
	}
}
