package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

func idsOf(receipts []tasks.Receipt) []string {
	ids := make([]string, len(receipts))
	for i, r := range receipts {
		ids[i] = r.ID
	}
	return ids
}

func many(n int, queue string) []tasks.Request {
	return slices.Repeat([]tasks.Request{{Name: "n", Payload: number{}, Options: tasks.Options{Queue: queue}}}, n)
}

// line returns the ids of a queue's tasks, the first one first.
func (c *cluster) line(queue string) []string {
	ids := c.redis.LRange(c.t.Context(), c.keys.Queue(queue), 0, -1).Val()
	slices.Reverse(ids)
	return ids
}

func TestABulkKeepsItsOrderAlthoughRepliesAreLost(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		proxy := &lossy{Config: cfg}
		c := newCluster(t, proxy.config(t), &tasks.Registry{})
		_, err := c.tasks.Enqueue(t.Context(), "n", number{})
		require.NoError(t, err)
		proxy.every.Store(4)
		var wg sync.WaitGroup
		for range 3 { // others' tasks come in between
			wg.Go(func() {
				for range 5 {
					_, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Queue: "other"})
					require.NoError(t, err)
				}
			})
		}
		receipts, err := c.tasks.EnqueueMany(t.Context(), many(6000, "bulk"))
		require.NoError(t, err)
		wg.Wait()
		proxy.every.Store(0)
		require.NotZero(t, proxy.lost.Load())
		require.Equal(t, idsOf(receipts), c.line("bulk"))
		require.Len(t, c.line("other"), 15)
	})
}

func TestABulkEndsWhereABatchWasRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Queue("broken"), "x", 0).Err())
		news := slices.Concat(many(1000, "sound"), many(1, "broken"), many(1999, "sound"))
		receipts, err := c.tasks.EnqueueMany(t.Context(), news)
		require.ErrorContains(t, err, c.keys.Queue("broken"))
		require.Len(t, receipts, 1000)
		_, err = c.tasks.Enqueue(t.Context(), "n", number{}) // after all that was on its way
		require.NoError(t, err)
		require.Equal(t, idsOf(receipts), c.line("sound"), "nothing behind it was stored")
	})
}

func TestABulkIsCheckedBeforeAnythingIsStored(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		news := many(10_000, "q") // so many are prepared on several processors
		news[4_000].Payload = json.RawMessage("{")
		news[9_999].Name = "no spaces"
		_, err := c.tasks.EnqueueMany(t.Context(), news)
		require.ErrorContains(t, err, "enqueue n: payload:", "the first one that is wrong")
		news[4_000].Payload = nil
		_, err = c.tasks.EnqueueMany(t.Context(), news)
		require.ErrorIs(t, err, tasks.ErrName)
		require.Empty(t, c.line("q"))
	})
}

// outage is a Redis that executes what is on its way, does not answer, and then
// cannot be reached; dial says how.
type outage struct {
	link.Config
	away atomic.Bool
	dial func(ctx context.Context) error
}

type awayConn struct {
	net.Conn
	*outage
}

func (o *outage) config() link.Config {
	dial := o.Dial
	return link.Config{Dial: func(ctx context.Context) (net.Conn, error) {
		if o.away.Load() {
			return nil, o.dial(ctx)
		}
		c, err := dial(ctx)
		return awayConn{c, o}, err
	}}
}

func (c awayConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.away.Load() {
		_ = c.Close()
		return 0, errors.New("connection lost with the reply")
	}
	return n, err
}

func TestATaskThatMayBeStoredIsNotSaidToBeRefused(t *testing.T) {
	for name, dial := range map[string]func(ctx context.Context) error{
		"refused": func(context.Context) error { return link.DialError(errors.New("away")) },
		"hanging": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy := &outage{Config: redistest.Embedded(t).Config(), dial: dial}
				c := newCluster(t, proxy.config(), &tasks.Registry{})
				_, err := c.tasks.Enqueue(t.Context(), "n", number{})
				require.NoError(t, err)
				for n := range 2 {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(10*time.Second, cancel)
					proxy.away.Store(true)
					_, err = c.tasks.Enqueue(ctx, "n", number{})
					require.ErrorIs(t, err, link.ErrUnknownOutcome, "the first try was stored")
					require.NotErrorIs(t, err, link.ErrUnavailable)
					proxy.away.Store(false)
					_, err = c.tasks.Enqueue(t.Context(), "n", number{})
					require.NoError(t, err)
					require.Len(t, c.line(tasks.DefaultQueue), 3+2*n)
				}
				time.Sleep(5 * time.Second) // the dials that hang end with their timeout
			})
		})
	}
}

// mute is a connection that, once told, sends nothing any more and breaks.
type mute struct {
	net.Conn
	told *atomic.Bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.told.Swap(false) {
		_ = m.Close()
		return len(p), nil
	}
	return m.Conn.Write(p)
}

func TestARefusalAfterATryOfWhichNobodyKnowsIsNoneYet(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var told atomic.Bool
		dial := dialer(cfg)
		c := newCluster(t, link.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			return &mute{conn, &told}, err
		}}, &tasks.Registry{})
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Queue("broken"), "x", 0).Err())
		told.Store(true)
		_, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Queue: "broken"})
		require.ErrorIs(t, err, link.ErrUnknownOutcome, "what was sent first may still arrive")
		require.ErrorContains(t, err, c.keys.Queue("broken"))
		_, err = c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Queue: "broken"})
		require.NotErrorIs(t, err, link.ErrUnknownOutcome)
	})
}

// deaf is a connection that, once told, hears no answer any more.
type deaf struct {
	net.Conn
	told *atomic.Bool
	is   bool
}

func (d *deaf) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if d.is = d.is || d.told.Swap(false); d.is {
		return d.Conn.Read(p) // until its time is over
	}
	return n, err
}

func TestOthersGoOnWhileABatchWaitsForItsAnswer(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var told atomic.Bool
		dial := dialer(cfg)
		c := newCluster(t, link.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			return &deaf{Conn: conn, told: &told}, err
		}}, &tasks.Registry{})
		_, err := c.tasks.Enqueue(t.Context(), "n", number{})
		require.NoError(t, err)
		told.Store(true)
		stuck := make(chan error, 1)
		go func() {
			_, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Queue: "stuck"})
			stuck <- err
		}()
		c.eventually("it is stored and unanswered", func() bool { return !told.Load() && len(c.line("stuck")) == 1 })
		const n = 300
		for range n {
			_, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Queue: "other"})
			require.NoError(t, err)
		}
		keys := c.redis.Keys(t.Context(), c.keys.Producer("*")).Val()
		require.Len(t, keys, 1)
		require.Less(t, c.redis.StrLen(t.Context(), keys[0]).Val(), int64(40), "what Redis remembers does not grow")
		require.Empty(t, stuck, "the others did not wait for it")
		require.NoError(t, <-stuck)
		require.Len(t, c.line("stuck"), 1)
		require.Len(t, c.line("other"), n)
	})
}

func TestManyBulksThatFailLeaveTheOthersAlone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCluster(t, cfg, &tasks.Registry{})
		require.NoError(t, c.redis.Set(t.Context(), c.keys.Queue("broken"), "x", 0).Err())
		news := slices.Concat(many(1, "broken"), many(1999, "sound"))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					receipts, err := c.tasks.EnqueueMany(t.Context(), news)
					if err == nil || len(receipts) > 0 {
						t.Error("a part was stored although the one before it was refused")
					}
					if _, err := c.tasks.EnqueueWith(t.Context(), "n", number{}, tasks.Options{Queue: "other"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Len(t, c.line("other"), 80)
		require.Empty(t, c.line("sound"))
	})
}
