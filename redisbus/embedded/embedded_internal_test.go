package embedded

import (
	"io"
	"math"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestCloseDoesNotWaitForAScriptThatLoops(t *testing.T) {
	s := New()
	s.patience = 10 * time.Millisecond
	c, err := link.OpenClient(s.Config(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Eval(t.Context(), "repeat until redis.call('TIME')[1] + 0 > ARGV[1] + 0", nil, time.Now().Unix()+2).Err() // for a second at least
	}()
	require.Eventually(t, func() bool {
		if !s.redis.TryLock() {
			return true
		}
		s.redis.Unlock()
		return false
	}, time.Minute, 100*time.Microsecond)
	require.ErrorContains(t, s.Close(), "still runs a command")
	require.ErrorIs(t, c.Ping(t.Context()).Err(), net.ErrClosed)
	<-ended
	s.redis.Lock() // once the script has ended, for goleak
	t.Cleanup(s.redis.Unlock)
}

func TestReaderIsCutBeyondItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream(limits{soft: 100, hard: 1000, patience: 5 * time.Second})
		write := func(n int) error {
			_, err := s.Write(make([]byte, n))
			return err
		}
		require.NoError(t, write(10_000), "a single write may be of any size")
		_, err := io.ReadFull(s, make([]byte, 9_000))
		require.NoError(t, err)
		time.Sleep(4 * time.Second)
		_, err = s.Read(make([]byte, 1))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.NoError(t, write(1), "it reads again and again")
		time.Sleep(2 * time.Millisecond)
		require.ErrorIs(t, write(1), io.ErrClosedPipe, "it is cut, whether anything is written or not")

		s = newStream(limits{soft: 100, hard: 1000, patience: 5 * time.Second})
		require.NoError(t, write(1001))
		require.ErrorIs(t, write(1), errSlow)
	})
}

// tight is a server that cuts early, with a socket.
func tight(t *testing.T, ways func(t *testing.T, inside *redis.Client, connect func() net.Conn)) {
	for _, way := range []string{"socket", "pipe"} {
		t.Run(way, func(t *testing.T) {
			s := New()
			s.limits = limits{soft: 64 << 10, hard: 1 << 20, patience: time.Minute}
			socket, err := s.Listen(t.Context(), filepath.Join(t.TempDir(), "s"))
			require.NoError(t, err)
			inside, err := link.OpenClient(s.Config(), "test")
			require.NoError(t, err)
			t.Cleanup(func() {
				_ = inside.Close()
				require.NoError(t, s.Close())
			})
			ways(t, inside, func() net.Conn {
				c, err := s.Dial(t.Context())
				if way == "socket" {
					c, err = new(net.Dialer).DialContext(t.Context(), "unix", socket.Path())
				}
				require.NoError(t, err)
				t.Cleanup(func() { _ = c.Close() })
				return c
			})
		})
	}
}

func TestClientThatNeverReadsIsCut(t *testing.T) {
	tight(t, func(t *testing.T, inside *redis.Client, connect func() net.Conn) {
		require.NoError(t, inside.Set(t.Context(), "k", strings.Repeat("x", 100_000), 0).Err())
		slow := connect()
		require.Eventually(t, func() bool {
			_, err := slow.Write([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"))
			return err != nil
		}, time.Minute, time.Millisecond)
		require.NoError(t, inside.Ping(t.Context()).Err())
	})
}

func TestSubscriberThatNeverReadsIsCut(t *testing.T) {
	tight(t, func(t *testing.T, inside *redis.Client, connect func() net.Conn) {
		slow := connect()
		_, err := slow.Write([]byte("*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n"))
		require.NoError(t, err)
		subscribers := func() int64 { return inside.PubSubNumSub(t.Context(), "news").Val()["news"] }
		require.Eventually(t, func() bool { return subscribers() == 1 }, time.Minute, time.Millisecond)
		text := strings.Repeat("x", 100_000)
		require.Eventually(t, func() bool {
			require.NoError(t, inside.Publish(t.Context(), "news", text).Err())
			return subscribers() == 0
		}, time.Minute, time.Millisecond)
	})
}

// Every number that a process of 32 bits cannot have is right, on any machine.
func TestNarrowIntegers(t *testing.T) {
	s := New()
	s.bits = 32
	c, err := link.OpenClient(s.Config(), "test")
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		require.NoError(t, s.Close())
	})
	ctx := t.Context()
	script := link.NewScript("return {'OK', 4294967296000, {-2147483649, 7}, 2147483647}")
	for range 2 {
		r, err := script.Call(ctx, c, []string{"k"})
		require.NoError(t, err)
		require.NoError(t, c.ScriptFlush(ctx).Err())
		var long, edge int64
		var row []any
		require.NoError(t, r.Scan(&long, &row, &edge))
		require.Equal(t, int64(4294967296000), long)
		require.Equal(t, []any{int64(-2147483649), int64(7)}, row)
		require.EqualValues(t, 2147483647, edge)
	}
	sha, err := c.ScriptLoad(ctx, "return 4294967296000").Result()
	require.NoError(t, err)
	n, err := c.EvalSha(ctx, sha, nil).Int64()
	require.NoError(t, err)
	require.Equal(t, int64(4294967296000), n)
	require.True(t, redis.HasErrorPrefix(c.EvalSha(ctx, strings.Repeat("0", 40), nil).Err(), "NOSCRIPT"))
	_, err = c.Eval(ctx, "return redis.error_reply('NO luck')", nil).Result()
	require.ErrorContains(t, err, "NO luck")

	const long = 60 * 24 * time.Hour
	day := (24 * time.Hour).Seconds()
	lives := func(want time.Duration) {
		t.Helper()
		require.InDelta(t, want.Seconds(), c.PTTL(ctx, "k").Val().Seconds(), day)
		left, err := c.Eval(ctx, "return tonumber(redis.call('PTTL', 'k'))", nil).Int64()
		require.NoError(t, err)
		require.InDelta(t, want.Seconds(), float64(left)/1000, day)
	}
	require.NoError(t, c.Do(ctx, "set", "k", "PX", "px", long.Milliseconds()).Err())
	require.Equal(t, "PX", c.Get(ctx, "k").Val())
	lives(long)
	require.NoError(t, c.PExpire(ctx, "k", 2*long).Err())
	lives(2 * long)
	require.NoError(t, c.Do(ctx, "psetex", "k", long.Milliseconds(), "v").Err())
	lives(long)
	require.NoError(t, c.Eval(ctx, "redis.call('SET', 'k', 'v', 'PX', ARGV[1]) return 1", nil, (100*365*24*time.Hour).Milliseconds()).Err())
	lives(math.MaxInt32 * time.Second)
	require.NoError(t, c.Set(ctx, "k", "v", time.Minute).Err())
	lives(time.Minute)
}
