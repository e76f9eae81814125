package redisbus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

var token = link.NewSecret("0123456789abcdef0123456789abcdef")

// node is a served bus of its own connections.
type node struct {
	*redisbus.Bus
	conns *link.Connections
	stop  func() error
}

func newBus(t testing.TB, cfg link.Config, id string, change ...func(*redisbus.BusConfig)) (*redisbus.Bus, *link.Connections) {
	t.Helper()
	conns, err := link.Open(cfg, id)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conns.Close() })
	bc := redisbus.BusConfig{
		Publisher: conns.Client, Subscriber: conns.Subscriber, Keys: cfg.Keys(), Token: token,
		Identity: redisbus.Identity{ID: id, Incarnation: id + "#1:aa"}, Log: zerolog.Nop(),
	}
	for _, f := range change {
		f(&bc)
	}
	b, err := redisbus.NewBus(bc)
	require.NoError(t, err)
	return b, conns
}

// serve serves the bus until the test's end or stop.
func serve(t testing.TB, b *redisbus.Bus) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { require.NoError(t, stop()) })
	select {
	case <-b.Ready():
	case <-time.After(time.Minute):
		t.Fatal("the bus did not become ready")
	}
	return stop
}

func start(t testing.TB, cfg link.Config, id string, change ...func(*redisbus.BusConfig)) node {
	t.Helper()
	b, conns := newBus(t, cfg, id, change...)
	return node{Bus: b, conns: conns, stop: serve(t, b)}
}

// seal prepares a message and seals it once.
func seal(ctx context.Context, b interface {
	Prepare(ctx context.Context, kind string, body any, o redisbus.PublishOptions) (redisbus.Outgoing, error)
	Seal(ctx context.Context, m redisbus.Outgoing) (channel string, message []byte, err error)
}, kind string, body any, o redisbus.PublishOptions,
) (channel string, message []byte, err error) {
	m, err := b.Prepare(ctx, kind, body, o)
	if err != nil {
		return "", nil, err
	}
	return b.Seal(ctx, m)
}

// inbox collects the messages of a type.
func inbox(b *redisbus.Bus, kind string) <-chan redisbus.Message {
	got := make(chan redisbus.Message, 10_000)
	b.Subscribe(kind, func(_ context.Context, m redisbus.Message) { got <- m }, redisbus.SubscribeOptions{})
	return got
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestPublishReachesEveryNodeAndItsSender(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a, b := start(t, cfg, "a"), start(t, cfg, "b")
		atA, atB, second, other := inbox(a.Bus, "price"), inbox(b.Bus, "price"), inbox(b.Bus, "price"), inbox(b.Bus, "other")
		before := time.Now()
		require.NoError(t, a.Publish(t.Context(), "price", map[string]any{"eur": 3, "name": "<&>"}))
		require.NoError(t, a.Publish(t.Context(), "price", nil))
		for _, at := range []<-chan redisbus.Message{atA, atB, second} {
			m := receive(t, at)
			require.Equal(t, "price", m.Type)
			require.Equal(t, redisbus.Identity{ID: "a", Incarnation: "a#1:aa"}, m.Sender())
			require.JSONEq(t, `{"eur":3,"name":"<&>"}`, string(m.Body))
			require.WithinDuration(t, before, m.SentAt, 5*time.Second)
			require.False(t, m.Directed)
			next := receive(t, at)
			require.Nil(t, next.Body)
			require.Equal(t, m.Seq+1, next.Seq)
		}
		require.Empty(t, other)
	})
}

func TestSendReachesOneInboxAndCountsReceivers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a, b := start(t, cfg, "a"), start(t, cfg, "b")
		atA, atB := inbox(a.Bus, "hello"), inbox(b.Bus, "hello")
		n, err := a.Send(t.Context(), "b", "hello", json.RawMessage(`"you"`))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		m := receive(t, atB)
		require.True(t, m.Directed)
		require.Equal(t, `"you"`, string(m.Body))
		n, err = a.Send(t.Context(), "nobody", "hello", nil)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Empty(t, atA)
	})
}

func TestMetaTravelsWithEveryKindOfMessage(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a, b := start(t, cfg, "a"), start(t, cfg, "b")
		got := inbox(b.Bus, "x")
		meta := map[string]string{"tenant": "t\"1\"", "trace.id": "ü<&>", "empty": ""}
		n, err := a.PublishWith(t.Context(), "x", 1, redisbus.PublishOptions{Meta: meta})
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		n, err = a.PublishWith(t.Context(), "x", 2, redisbus.PublishOptions{Meta: meta, Node: "b"})
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		for _, node := range []string{"", "b"} {
			channel, sealed, err := seal(t.Context(), a, "x", 3, redisbus.PublishOptions{Meta: meta, Node: node})
			require.NoError(t, err)
			require.NoError(t, redistest.Client(t, cfg).Publish(t.Context(), channel, sealed).Err())
		}
		for _, want := range []struct {
			body             string
			directed, sealed bool
		}{{"1", false, false}, {"2", true, false}, {"3", false, true}, {"3", true, true}} {
			m := receive(t, got)
			require.Equal(t, want.body, string(m.Body))
			require.Equal(t, want.directed, m.Directed)
			require.Equal(t, want.sealed, m.Sealed)
			require.Equal(t, meta, m.Meta)
		}
		require.NoError(t, a.Publish(t.Context(), "x", 4))
		require.Nil(t, receive(t, got).Meta)
		bad := redisbus.PublishOptions{Meta: map[string]string{"Tenant": "1"}}
		_, err = a.PublishWith(t.Context(), "x", nil, bad)
		require.ErrorIs(t, err, link.ErrMeta)
		_, _, err = seal(t.Context(), a, "x", nil, bad)
		require.ErrorIs(t, err, link.ErrMeta)
		_, err = a.PublishWith(t.Context(), "x", nil, redisbus.PublishOptions{Node: "a b"})
		require.ErrorIs(t, err, link.ErrName)
	})
}

func TestMessagesOfOneSenderComeInOrder(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a, b := start(t, cfg, "a"), start(t, cfg, "b")
		got := inbox(b.Bus, "count")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 100 {
					require.NoError(t, a.Publish(t.Context(), "count", i))
				}
			})
		}
		wg.Wait()
		last := receive(t, got).Seq
		for range 799 {
			next := receive(t, got).Seq
			require.Equal(t, last+1, next)
			last = next
		}
	})
}

func TestSealedMessageIsDeliveredOnceHoweverOftenItIsPublished(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a, b := start(t, cfg, "a"), start(t, cfg, "b")
		got := inbox(b.Bus, "done")
		c := redistest.Client(t, cfg)
		channel, first, err := seal(t.Context(), a, "done", 1, redisbus.PublishOptions{})
		require.Equal(t, cfg.Keys().Channel(), channel)
		require.NoError(t, err)
		_, second, err := seal(t.Context(), a, "done", 2, redisbus.PublishOptions{})
		require.NoError(t, err)
		for _, payload := range [][]byte{second, first, second, first} {
			require.NoError(t, c.Publish(t.Context(), cfg.Keys().Channel(), payload).Err())
		}
		require.NoError(t, a.Publish(t.Context(), "done", 3))
		require.Equal(t, "2", string(receive(t, got).Body))
		m := receive(t, got)
		require.Equal(t, "1", string(m.Body))
		require.True(t, m.Sealed)
		require.Equal(t, "3", string(receive(t, got).Body))
		require.EqualValues(t, 2, b.Stats().Dropped[redisbus.DropReplay])
	})
}

func TestHintsNeedNoProofAndComeAlsoAfterSubscribing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		b, _ := newBus(t, cfg, "a")
		early, late := make(chan struct{}, 100), make(chan struct{}, 100)
		b.Hint("early", func() { early <- struct{}{} })
		serve(t, b)
		receive(t, early)
		b.Hint("late", func() { late <- struct{}{} })
		receive(t, late)
		c := redistest.Client(t, cfg)
		for channel, hinted := range map[string]chan struct{}{"early": early, "late": late} {
			n, err := c.Publish(t.Context(), channel, "").Result()
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			receive(t, hinted)
		}
	})
}

func TestSubscriptionCloseAndPanicsConcernOnlyThemselves(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a := start(t, cfg, "a")
		first, second := inbox(a.Bus, "x"), make(chan int, 10)
		a.Subscribe("x", func(context.Context, redisbus.Message) { panic("no") }, redisbus.SubscribeOptions{})
		s := a.Subscribe("x", func(context.Context, redisbus.Message) { second <- 1 }, redisbus.SubscribeOptions{})
		require.NoError(t, a.Publish(t.Context(), "x", 1))
		receive(t, first)
		receive(t, second)
		s.Close()
		require.NoError(t, a.Publish(t.Context(), "x", 2))
		receive(t, first)
		require.Empty(t, second)
	})
}

func TestPublishRefusesWhatReceiversWouldDrop(t *testing.T) {
	a, _ := newBus(t, redistest.Embedded(t).Config(), "a")
	ctx := t.Context()
	require.ErrorIs(t, a.Publish(ctx, "x", strings.Repeat("x", redisbus.MaxMessage)), redisbus.ErrTooLarge)
	require.Error(t, a.Publish(ctx, "x", json.RawMessage(`{"a":1,"a":2}`)))
	require.Error(t, a.Publish(ctx, "x", json.RawMessage(strings.Repeat("[", 40)+strings.Repeat("]", 40))))
	require.Error(t, a.Publish(ctx, "x", json.RawMessage(`{`)))
	require.Error(t, a.Publish(ctx, "x", func() {}))
	require.Error(t, a.Publish(ctx, "bad type", nil))
	_, err := a.Send(ctx, "bad\nnode", "x", nil)
	require.Error(t, err)
	_, _, err = seal(ctx, a, "x", strings.Repeat("x", redisbus.MaxMessage), redisbus.PublishOptions{})
	require.ErrorIs(t, err, redisbus.ErrTooLarge)
}

func TestTypesThatEndNodesOfOthersAreRefusedWhereOthersListen(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		for mode, refuses := range map[link.Mode]bool{link.ModeHMAC: false, link.ModePlain: true, link.ModeBoth: true} {
			b, _ := newBus(t, cfg, "a", func(c *redisbus.BusConfig) { c.Mode = mode })
			for _, kind := range []string{"do", "doResponse", "__proto__", "__defineGetter__"} {
				err := b.Publish(t.Context(), kind, 1)
				_, _, sealed := seal(t.Context(), b, kind, 1, redisbus.PublishOptions{})
				if refuses {
					require.ErrorIs(t, err, redisbus.ErrReserved, "%s in mode %s", kind, mode)
					require.ErrorIs(t, sealed, redisbus.ErrReserved)
				} else {
					require.NoError(t, err)
					require.NoError(t, sealed)
				}
			}
			require.NoError(t, b.Publish(t.Context(), "done", 1))
		}
	})
}

func TestTokenIsTheClustersOwn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c, ctx := redistest.Client(t, cfg), t.Context()
		got, err := redisbus.Token(ctx, c, cfg.Keys(), token)
		require.NoError(t, err)
		require.Equal(t, token, got)
		require.Zero(t, c.Exists(ctx, cfg.Keys().Token()).Val(), "a configured token is not stored")

		tokens := make(chan string, 20)
		for range cap(tokens) {
			go func() {
				drawn, err := redisbus.Token(ctx, c, cfg.Keys(), link.Secret{})
				tokens <- fmt.Sprint(drawn.Reveal(), err)
			}()
		}
		first := receive(t, tokens)
		require.Len(t, strings.TrimSuffix(first, "<nil>"), 43)
		for range cap(tokens) - 1 {
			require.Equal(t, first, receive(t, tokens))
		}
		require.NoError(t, c.Set(ctx, cfg.Keys().Token(), "short", 0).Err())
		_, err = redisbus.Token(ctx, c, cfg.Keys(), link.Secret{})
		require.ErrorContains(t, err, cfg.Keys().Token())
	})
}
