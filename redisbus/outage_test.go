package redisbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A connection that is cut off without a word is noticed within 6 s and
// replaced within 10 s, and what was lost meanwhile is told.
func TestABlackHoledConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		cut := &redistest.Cable{To: server.Dial}
		cfg := link.Config{Dial: cut.Dial}
		a, b := start(t, server.Config(), "a"), start(t, cfg, "b")
		got, gaps := make(chan redisbus.Message, 100), make(chan redisbus.Gap, 100)
		b.Subscribe("x", func(_ context.Context, m redisbus.Message) { got <- m },
			redisbus.SubscribeOptions{OnGap: func(_ context.Context, g redisbus.Gap) { gaps <- g }})
		require.NoError(t, a.Publish(t.Context(), "x", 0))
		<-got

		time.Sleep(time.Minute) // an idle bus stays connected
		require.Zero(t, b.Stats().Reconnects)

		began := time.Now()
		cut.BlackHole()
		for i := range 3 {
			require.NoError(t, a.Publish(t.Context(), "x", i))
		}
		require.Equal(t, redisbus.Gap{Reason: redisbus.GapReconnect}, <-gaps)
		require.LessOrEqual(t, time.Since(began), 10*time.Second)
		require.NoError(t, a.Publish(t.Context(), "x", "back"))
		require.Equal(t, redisbus.Gap{Reason: redisbus.GapSequence, Sender: a.Identity(), Lost: 3}, <-gaps)
		require.Equal(t, `"back"`, string((<-got).Body))
		require.EqualValues(t, 1, b.Stats().Reconnects)
		require.NoError(t, b.stop())
		require.NoError(t, a.stop())
	})
}

// Nothing spins while Redis is away, Serve goes on, and the bus is back soon.
func TestAnOutageIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		cut := &redistest.Cable{To: server.Dial}
		b := start(t, link.Config{Dial: cut.Dial}, "b")
		got := inbox(b.Bus, "x")
		cut.Refuse.Store(true)
		cut.BlackHole()
		time.Sleep(10 * time.Second)
		require.False(t, b.Stats().Connected)
		before := cut.Dials.Load()
		time.Sleep(10 * time.Minute)
		require.Less(t, cut.Dials.Load()-before, int64(1000), "at most a few tries a second")
		err := b.Publish(t.Context(), "x", 1)
		require.ErrorIs(t, err, link.ErrUnavailable)
		cut.Refuse.Store(false)
		time.Sleep(5 * time.Second)
		require.True(t, b.Stats().Connected)
		require.NoError(t, b.Publish(t.Context(), "x", 2))
		require.Equal(t, "2", string((<-got).Body))
		require.NoError(t, b.stop())
	})
}

func TestServeBeforeRedisAndThroughItsRestart(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	b, _ := newBus(t, server.Config(), "a", func(c *redisbus.BusConfig) { c.TokenKept = true })
	got := inbox(b, "x")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx) }()
	require.NoError(t, server.Run())
	receive(t, b.Ready())
	c := redistest.Client(t, server.Config())
	for range 2 {
		require.Eventually(t, func() bool { return b.Publish(ctx, "x", 1) == nil && len(got) > 0 }, time.Minute, 10*time.Millisecond)
		// The token is in Redis again, although Redis came back empty.
		require.Eventually(t, func() bool {
			return c.Get(ctx, server.Config().Keys().Token()).Val() == token.Reveal()
		}, time.Minute, 10*time.Millisecond)
		server.Kill()
		require.Empty(t, ended)
		require.NoError(t, server.Run())
		for len(got) > 0 {
			<-got
		}
	}
	cancel()
	require.NoError(t, <-ended)
}

func TestAnotherTokenInRedisIsTaken(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := redistest.Client(t, cfg)
		const drawn = "a token that another node has drawn"
		require.NoError(t, c.Set(t.Context(), cfg.Keys().Token(), drawn, 0).Err())
		kept := func(c *redisbus.BusConfig) { c.TokenKept = true }
		late := start(t, cfg, "late", kept)
		got := inbox(late.Bus, "x")
		other := start(t, cfg, "other", kept, func(c *redisbus.BusConfig) { c.Token = link.NewSecret(drawn) })
		require.NoError(t, other.Publish(t.Context(), "x", 1))
		require.Equal(t, "other", receive(t, got).ServerID)
		fromLate := inbox(other.Bus, "y")
		require.NoError(t, late.Publish(t.Context(), "y", 1))
		require.Equal(t, "late", receive(t, fromLate).ServerID)
	})
}

func TestKilledConnectionsAreToldAsGaps(t *testing.T) {
	cfg := redistest.Start(t).Config()
	c := redistest.Client(t, cfg)
	b := start(t, cfg, "b")
	gaps := make(chan redisbus.Gap, 100)
	b.Subscribe("x", func(context.Context, redisbus.Message) {}, redisbus.SubscribeOptions{
		OnGap: func(_ context.Context, g redisbus.Gap) { gaps <- g },
	})
	hinted := make(chan struct{}, 100)
	b.Hint("hint", func() { hinted <- struct{}{} })
	receive(t, hinted)
	for range 3 {
		require.NoError(t, c.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())
		require.Equal(t, redisbus.GapReconnect, receive(t, gaps).Reason)
		receive(t, hinted)
	}
}

func TestASlowSubscriptionLosesItsOwnOldestMessages(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		b := start(t, cfg, "b")
		hold, got, gaps := make(chan struct{}), make(chan string, 100), make(chan redisbus.Gap, 10)
		b.Subscribe("x", func(_ context.Context, m redisbus.Message) {
			got <- string(m.Body)
			<-hold
		}, redisbus.SubscribeOptions{Buffer: 3, OnGap: func(_ context.Context, g redisbus.Gap) { gaps <- g }})
		fast := inbox(b.Bus, "x")
		for i := range 10 {
			require.NoError(t, b.Publish(t.Context(), "x", i))
			receive(t, fast)
			if i == 0 {
				require.Equal(t, "0", receive(t, got))
			}
		}
		close(hold)
		require.Equal(t, redisbus.Gap{Reason: redisbus.GapOverflow, Lost: 6}, receive(t, gaps))
		for _, want := range []string{"7", "8", "9"} {
			require.Equal(t, want, receive(t, got))
		}
		require.EqualValues(t, 6, b.Stats().Dropped[redisbus.DropOverflow])
	})
}

func TestAHandlerMayEndItsGoroutine(t *testing.T) {
	b := start(t, redistest.Embedded(t).Config(), "b")
	got := make(chan string, 10)
	b.Subscribe("x", func(_ context.Context, m redisbus.Message) {
		got <- string(m.Body)
		runtime.Goexit()
	}, redisbus.SubscribeOptions{})
	for i := range 3 {
		require.NoError(t, b.Publish(t.Context(), "x", i))
		require.Equal(t, fmt.Sprint(i), receive(t, got))
	}
}

func TestAnInlineHandlerCannotEndTheReader(t *testing.T) {
	b := start(t, redistest.Embedded(t).Config(), "b")
	got := inbox(b.Bus, "y")
	b.Subscribe("x", func(context.Context, redisbus.Message) { panic("no") }, redisbus.SubscribeOptions{Inline: true})
	require.NoError(t, b.Publish(t.Context(), "x", 1))
	require.NoError(t, b.Publish(t.Context(), "y", 1))
	receive(t, got)
}

func TestServeEndsWithItsHandlersAndNamesThoseThatDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		b, _ := newBus(t, server.Config(), "b")
		var heeded atomic.Bool
		stuck, ended := make(chan struct{}), make(chan error, 1)
		b.Subscribe("polite", func(ctx context.Context, _ redisbus.Message) {
			<-ctx.Done()
			time.Sleep(time.Second)
			heeded.Store(true)
		}, redisbus.SubscribeOptions{})
		s := b.Subscribe("rude", func(context.Context, redisbus.Message) { <-stuck }, redisbus.SubscribeOptions{})
		serveUntil := func() {
			ctx, cancel := context.WithCancel(context.Background())
			go func() { ended <- b.Serve(ctx) }()
			synctest.Wait()
			<-b.Ready()
			time.Sleep(time.Second)
			require.NoError(t, b.Publish(ctx, "polite", 1))
			require.NoError(t, b.Publish(ctx, "rude", 1))
			synctest.Wait()
			cancel()
		}
		serveUntil()
		var e *redisbus.StuckError
		require.ErrorAs(t, <-ended, &e)
		require.Equal(t, []string{"rude"}, e.Handlers)
		require.True(t, heeded.Load())
		close(stuck)
		s.Close()
		synctest.Wait()
		heeded.Store(false)
		serveUntil()
		require.NoError(t, <-ended)
		require.True(t, heeded.Load())
	})
}

func TestHandlersRunUnderTheBaseContext(t *testing.T) {
	type key struct{}
	base := context.WithValue(context.Background(), key{}, "node")
	b := start(t, redistest.Embedded(t).Config(), "b", func(c *redisbus.BusConfig) {
		c.BaseContext = func() context.Context { return base }
	})
	got := make(chan any, 1)
	b.Subscribe("x", func(ctx context.Context, _ redisbus.Message) { got <- ctx.Value(key{}) }, redisbus.SubscribeOptions{})
	require.NoError(t, b.Publish(t.Context(), "x", 1))
	require.Equal(t, "node", receive(t, got))
	require.ErrorIs(t, b.Serve(t.Context()), redisbus.ErrServing)
}

func TestPublishStopsWaitingWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		cut := &redistest.Cable{To: server.Dial}
		b := start(t, link.Config{Dial: cut.Dial}, "b")
		require.NoError(t, b.Publish(t.Context(), "x", 1), "which opens the connection that is cut")
		cut.BlackHole()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := b.Publish(ctx, "x", 1)
		require.ErrorIs(t, err, link.ErrUnknownOutcome)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 100*time.Millisecond, time.Since(began))
		for err == nil || !errors.Is(err, redisbus.ErrCongested) {
			err = b.Post(t.Context(), redisbus.Outgoing{Type: "x"}, nil)
		}
		time.Sleep(time.Minute)
		require.NoError(t, b.Publish(t.Context(), "x", 1), "the queue has been emptied")
		require.NoError(t, b.stop())
	})
}

func TestADirectCallerOfManyMessagesKeepsNoOrderWaiting(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		b := start(t, cfg, "b")
		got := inbox(b.Bus, "x")
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := range 50 {
					post := b.Post
					if i%2 == 0 {
						post = b.PostNow
					}
					require.NoError(t, post(t.Context(), redisbus.Outgoing{Type: "x", Body: []byte(fmt.Sprint(i))}, nil))
				}
			})
		}
		wg.Wait()
		for range 16 * 50 {
			receive(t, got)
		}
		require.Empty(t, b.Stats().Dropped)
	})
}

// forged messages are counted, and leave nothing of themselves in the log.
func TestForgedMessagesAreCountedAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.New()
		defer server.Close()
		var mu sync.Mutex
		var log bytes.Buffer
		b := start(t, server.Config(), "b", func(c *redisbus.BusConfig) {
			c.Log = zerolog.New(writer(func(p []byte) { mu.Lock(); defer mu.Unlock(); log.Write(p) }))
		})
		got := inbox(b.Bus, "x")
		client := redistest.Client(t, server.Config())
		publish := func(n int) {
			for range n {
				require.NoError(t, client.Publish(t.Context(), "stellar", `{"messageType":"x","serverToken":"forged"}`).Err())
			}
			synctest.Wait()
		}
		publish(1000)
		require.EqualValues(t, 1000, b.Stats().Dropped[redisbus.DropProof])
		require.Empty(t, got)
		lines := func() (n int) {
			mu.Lock()
			defer mu.Unlock()
			require.NotContains(t, log.String(), "forged")
			require.NotContains(t, log.String(), token.Reveal())
			return strings.Count(log.String(), "messages dropped")
		}
		require.Equal(t, 1, lines())
		time.Sleep(11 * time.Second)
		publish(10)
		require.Equal(t, 2, lines())
		require.Contains(t, log.String(), `"proof":1000`)
		require.Contains(t, log.String(), "give all its processes the same token and token mode")
		require.NoError(t, b.stop())
	})
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
