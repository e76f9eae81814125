package cache_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// openNear runs a cache that keeps keys with the prefix "n:" near, until stop.
func openNear(t *testing.T, cfg link.Config, o cache.Near) (c *cache.Cache, stop func()) {
	return serveNear(t, cache.Config{Client: redistest.Client(t, cfg), Keys: cfg.Keys(), Near: o})
}

func serveNear(t *testing.T, cfg cache.Config) (c *cache.Cache, stop func()) {
	cfg.Near.Prefixes = []string{"n:", "n:x"}
	c = cache.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() { errorFree(t, c.Serve(ctx)) })
	stop = func() { cancel(); served.Wait() }
	t.Cleanup(stop)
	return c, stop
}

// commands counts what Redis is asked meanwhile.
func loadsOf(t *testing.T, cfg link.Config, f func()) int64 {
	client := redistest.Client(t, cfg)
	count := func() (n int64) {
		_, err := fmt.Sscan(redistest.Info(t, client, "stats", "total_commands_processed"), &n)
		require.NoError(t, err)
		return n
	}
	before := count()
	f()
	return count() - before - 1
}

func isNear(t *testing.T, cfg link.Config, c *cache.Cache) bool {
	return loadsOf(t, cfg, func() {
		for range 50 {
			_, err := c.Load(t.Context(), "n:probe")
			require.NoError(t, err)
		}
	}) < 50
}

func TestNearEntriesAreServedFromMemoryAndFollowEveryChange(t *testing.T) {
	cfg, ctx := redistest.Start(t).Config(), t.Context()
	writer := open(t, cfg)
	require.NoError(t, writer.Save(ctx, "n:probe", 1, 0))
	c, stop := openNear(t, cfg, cache.Near{})
	require.Eventually(t, func() bool { return isNear(t, cfg, c) }, time.Minute, 10*time.Millisecond)

	for i := range 50 {
		require.NoError(t, writer.Save(ctx, "n:k", i, time.Minute))
		require.Eventually(t, func() bool {
			got, err := cache.Get[int](ctx, c, "n:k")
			return err == nil && got == i
		}, time.Second, 50*time.Microsecond)
		require.NoError(t, c.Save(ctx, "n:k", -i, 0))
		got, err := cache.Get[int](ctx, c, "n:k")
		require.NoError(t, err)
		require.Equal(t, -i, got, "own writes are seen at once")
	}
	_, err := writer.Destroy(ctx, "n:k")
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := c.Load(ctx, "n:k"); return err != nil }, time.Second, time.Millisecond)

	_, err = c.Load(ctx, "n:probe")
	require.NoError(t, err)
	require.NoError(t, redistest.Client(t, cfg).FlushAll(ctx).Err())
	require.Eventually(t, func() bool { _, err := c.Load(ctx, "n:probe"); return err != nil }, time.Second, time.Millisecond)

	require.NoError(t, writer.Save(ctx, "n:probe", 1, 40*time.Millisecond))
	_, err = c.Load(ctx, "n:probe")
	require.NoError(t, err)
	time.Sleep(41 * time.Millisecond)
	_, err = c.Load(ctx, "n:probe")
	require.ErrorIs(t, err, cache.ErrNotFound, "a lifetime ends in memory too")

	require.NoError(t, writer.Save(ctx, "n:probe", 1, 0))
	stop()
	require.False(t, isNear(t, cfg, c), "without Serve, loads go to Redis")
}

func TestNearCacheIsNeverOlderThanPromised(t *testing.T) {
	server, ctx := redistest.Start(t), t.Context()
	p := newProxy(t, server.Config())
	writer := open(t, server.Config())
	require.NoError(t, writer.Save(ctx, "n:probe", 1, 0))
	c, _ := openNear(t, p.config(), cache.Near{MaxStale: 600 * time.Millisecond})
	require.Eventually(t, func() bool { return isNear(t, server.Config(), c) }, time.Minute, 10*time.Millisecond)

	_, err := c.Load(ctx, "n:probe")
	require.NoError(t, err)
	p.freeze(true) // connections stay open and say nothing
	require.NoError(t, writer.Save(ctx, "n:probe", 2, 0))
	changed := time.Now()
	for {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		got, err := cache.Get[int](ctx, c, "n:probe")
		cancel()
		if err != nil || got != 1 {
			break
		}
		require.Less(t, time.Since(changed), 1200*time.Millisecond)
	}
	p.freeze(false)
	require.Eventually(t, func() bool {
		got, err := cache.Get[int](ctx, c, "n:probe")
		return err == nil && got == 2
	}, time.Minute, 10*time.Millisecond)
}

func TestNearCacheIsOffWhereItIsNotSupported(t *testing.T) {
	cfg, ctx := redistest.Embedded(t).Config(), t.Context()
	c, stop := openNear(t, cfg, cache.Near{})
	time.Sleep(50 * time.Millisecond)
	for i := range 20 {
		require.NoError(t, open(t, cfg).Save(ctx, "n:k", i, 0))
		got, err := cache.Get[int](ctx, c, "n:k")
		require.NoError(t, err)
		require.Equal(t, i, got)
	}
	stop()
}

func TestNearCacheIsBounded(t *testing.T) {
	cfg, ctx := redistest.Start(t).Config(), t.Context()
	c, _ := openNear(t, cfg, cache.Near{MaxEntries: 128})
	require.NoError(t, c.Save(ctx, "n:probe", 1, 0))
	require.Eventually(t, func() bool { return isNear(t, cfg, c) }, time.Minute, 10*time.Millisecond)
	for i := range 1000 {
		require.NoError(t, c.Save(ctx, fmt.Sprint("n:", i), i, 0))
		_, err := c.Load(ctx, fmt.Sprint("n:", i))
		require.NoError(t, err)
	}
	asked := loadsOf(t, cfg, func() {
		for i := range 1000 {
			_, err := c.Load(ctx, fmt.Sprint("n:", i))
			require.NoError(t, err)
		}
	})
	require.Greater(t, asked, int64(800))
}

// proxy stands between a client and Redis.
type proxy struct {
	to     link.Config
	frozen atomic.Bool
	mu     sync.Mutex
	conns  []net.Conn
	all    sync.WaitGroup
}

func newProxy(t *testing.T, to link.Config) *proxy {
	p := &proxy{to: to}
	t.Cleanup(func() { p.freeze(false); p.drop(); p.all.Wait() })
	return p
}

func (p *proxy) config() link.Config { return link.Config{Dial: p.dial} }

func (p *proxy) dial(ctx context.Context) (net.Conn, error) {
	if p.frozen.Load() {
		return nil, link.DialError(context.DeadlineExceeded)
	}
	server, err := (&net.Dialer{}).DialContext(ctx, "unix", p.to.URL[len("unix://"):])
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	p.mu.Lock()
	p.conns = append(p.conns, server, far)
	p.mu.Unlock()
	p.all.Go(func() { p.copy(server, far) })
	p.all.Go(func() { p.copy(far, server) })
	return near, nil
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	for b := make([]byte, 64<<10); ; {
		n, err := from.Read(b)
		for p.frozen.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) freeze(on bool) { p.frozen.Store(on) }

// drop cuts every connection, also in the middle of an answer.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func TestAnObserverHearsWhatIsServedFromMemory(t *testing.T) {
	cfg, ctx, w := redistest.Start(t).Config(), t.Context(), &witness{}
	require.NoError(t, open(t, cfg).Save(ctx, "n:a", 1, 0))
	c, _ := serveNear(t, cache.Config{Client: redistest.Client(t, cfg), Keys: cfg.Keys(), Observer: w})
	require.Eventually(t, func() bool {
		_, err := c.Load(ctx, "n:a")
		require.NoError(t, err)
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.near) >= 2 && w.near[len(w.near)-1] == cache.NearHit
	}, 10*time.Second, time.Millisecond)
	require.NotEqual(t, cache.NearHit, w.near[0], "the first is loaded; what was saved may be told only now")
}
