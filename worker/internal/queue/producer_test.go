package queue

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var errRefused = errors.New("refused")

func TestAPartBehindAnotherGoesAlone(t *testing.T) {
	p := NewProducer(context.Background(), nil, link.NewKeys("x"))
	me, other := p.Caller(context.Background(), errClosed), p.Caller(context.Background(), errClosed)
	mine := me.split(t.Context(), make([]Task, 3*MaxBatch/2))
	others := []*submission{{ctx: t.Context(), caller: me}, {ctx: t.Context(), caller: other}}
	p.waiting = []*submission{others[0], mine[0], mine[1], others[1]}
	for i, want := range [][]*submission{{others[0], mine[0]}, {mine[1]}, {others[1]}} {
		b := p.next()
		require.Equal(t, want, b.parts)
		require.EqualValues(t, i+1, b.number)
		_, behind := p.others(b)
		require.Equal(t, i == 1, behind != nil, "only the second part has one before it")
	}
	// A part that failed takes those behind it along, whatever became of them.
	mine[0].finish(errRefused)
	require.ErrorIs(t, (&batch{parts: mine[1:]}).predecessorErr(), errRefused)
}

func TestNobodyWhoLeftIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := link.Config{Dial: func(context.Context) (net.Conn, error) {
			return nil, link.DialError(errors.New("away"))
		}}
		conns, err := link.OpenClient(away, "test")
		require.NoError(t, err)
		p := NewProducer(t.Context(), conns, away.Keys())
		defer func() {
			p.Close()
			require.NoError(t, conns.Close())
			time.Sleep(2 * time.Second) // a dialler outlives its pool by one
		}()
		caller := p.Caller(t.Context(), errClosed)
		some := slices.Repeat([]Task{NewKind("n", "default", Options{}).Task("1", NoOptions, nil)}, 3*MaxBatch)
		for range window {
			go func() { _, _, _ = caller.Enqueue(t.Context(), some[:1]) }() // they wait for good
		}
		synctest.Wait()
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _, err = caller.Enqueue(ctx, some)
			require.ErrorIs(t, err, link.ErrUnavailable, "they were never sent")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Empty(t, p.waiting)
	})
}

func TestABatchThatMeetsAnAlienKeyStoresNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		redis, keys := redistest.Client(t, cfg), cfg.Keys()
		p := NewProducer(t.Context(), redis, keys)
		defer p.Close()
		caller := p.Caller(t.Context(), errClosed)
		some := []Task{
			NewKind("n", "a", Options{}).Task("1", NoOptions, nil), NewKind("n", "b", Options{}).Task("2", NoOptions, nil),
			NewKind("n", "a^", Options{}).Task("3", NoOptions, nil),
		}
		for _, alien := range []string{keys.Queues(), keys.Queue("a"), keys.Queue("b"), keys.Queue("a^"), keys.Tasks(), keys.Stats()} {
			require.NoError(t, redis.Set(t.Context(), alien, "alien", 0).Err())
			_, _, err := caller.Enqueue(t.Context(), some)
			var wrong *link.WrongTypeError
			require.ErrorAs(t, err, &wrong, alien)
			require.Equal(t, alien, wrong.Key)
			require.NoError(t, redis.Del(t.Context(), alien).Err())
			require.Zero(t, redis.Exists(t.Context(), keys.Tasks(), keys.Queue("a"), keys.Queue("b"), keys.Queue("a^")).Val(), alien)
			for field, n := range redis.HGetAll(t.Context(), keys.Stats()).Val() {
				require.Equal(t, "0", n, field)
			}
		}
		known, refused, err := caller.Enqueue(t.Context(), some)
		require.NoError(t, err)
		require.Empty(t, refused)
		require.Equal(t, 3, known)
		require.Equal(t, map[string]string{"a|enqueued": "2", "b|enqueued": "1"}, redis.HGetAll(t.Context(), keys.Stats()).Val())
	})
}

func TestACallersEndIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := link.Config{Dial: func(context.Context) (net.Conn, error) { return nil, link.DialError(errors.New("away")) }}
		conns, err := link.OpenClient(away, "test")
		require.NoError(t, err)
		p := NewProducer(t.Context(), conns, away.Keys())
		ending, staying := p.Caller(t.Context(), errClosed), p.Caller(t.Context(), errClosed)
		ended, stays := make(chan error, 8), make(chan error, 8)
		enqueue := func(c *Caller, end chan<- error) {
			_, _, err := c.Enqueue(context.WithoutCancel(t.Context()), []Task{NewKind("n", "default", Options{}).Task("1", NoOptions, nil)})
			end <- err
		}
		for range 4 { // two are sent, the others wait for the next batch
			go enqueue(ending, ended)
			synctest.Wait()
			go enqueue(staying, stays)
			synctest.Wait()
		}
		ending.Close()
		for range 4 {
			require.ErrorIs(t, <-ended, errClosed)
		}
		enqueue(ending, ended)
		require.ErrorIs(t, <-ended, errClosed)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, stays)
		p.mu.Lock()
		for _, s := range p.waiting {
			require.Same(t, staying, s.caller, "nothing is kept of a caller that has ended")
		}
		p.mu.Unlock()
		p.Close()
		for range 4 {
			require.ErrorIs(t, <-stays, errClosed)
		}
		require.NoError(t, conns.Close())
		time.Sleep(time.Minute) // diallers outlive their pool
		synctest.Wait()
	})
}

func TestAnAlienKeyRefusesOnlyThoseWhoNeedIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client := redistest.Client(t, cfg)
		require.NoError(t, client.Set(t.Context(), cfg.Keys().Queue("broken"), "alien", 0).Err())
		p := NewProducer(t.Context(), client, cfg.Keys())
		defer p.Close()
		one, other := p.Caller(t.Context(), errClosed), p.Caller(t.Context(), errClosed)
		enqueue := func(c *Caller, queue string) error {
			ids := p.DrawIDs(1)
			_, _, err := c.Enqueue(t.Context(), []Task{NewKind("n", queue, Options{}).Task(ids.Next(), NoOptions, nil)})
			return err
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 20 {
					require.ErrorContains(t, enqueue(one, "broken"), cfg.Keys().Queue("broken"))
				}
			})
			all.Go(func() {
				for range 20 {
					require.NoError(t, enqueue(other, "fine"))
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 160, client.LLen(t.Context(), cfg.Keys().Queue("fine")).Val())
	})
}
