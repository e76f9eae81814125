package redisbus_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// Anybody who may publish can send 25 MB on each channel of a bus.
func TestMessagesThatAreTooLargeAreDroppedUnread(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a, b := start(t, cfg, "a"), start(t, cfg, "b")
		got, hinted := inbox(b.Bus, "x"), make(chan struct{}, 100)
		b.Hint(cfg.Keys().Due(), func() { hinted <- struct{}{} })
		receive(t, hinted)
		attacker := redistest.Client(t, cfg)
		text := redistest.LargeText("")
		redistest.KeepsMemory(t, cfg, func() {
			for i, channel := range []string{
				cfg.Keys().Channel(), cfg.Keys().Inbox("b"), cfg.Keys().Inbox(b.Identity().Incarnation), cfg.Keys().Beacon(), cfg.Keys().Due(),
			} {
				redistest.PublishLarge(t, attacker, channel, text)
				require.Eventually(t, func() bool { return b.Stats().Dropped[redisbus.DropSize] == uint64(i+1) }, time.Minute, time.Millisecond)
			}
		})
		for len(hinted) > 0 {
			<-hinted // of a second confirmation of the subscription
		}
		require.NoError(t, attacker.Publish(t.Context(), cfg.Keys().Due(), "").Err())
		receive(t, hinted)
		require.NoError(t, a.Publish(t.Context(), "x", 1))
		require.Equal(t, "1", string(receive(t, got).Body))
	})
}

func TestAnnouncementThatIsTooLargeIsDroppedUnread(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client := redistest.Client(t, cfg)
		dropped, tried := make(chan redisbus.Drop), make(chan struct{})
		a := newAnnouncements(t, client)
		a.Dropped = func(reason redisbus.Drop) { dropped <- reason }
		ended := await(t, a, "c", tried)
		receive(t, tried) // subscribed
		text := redistest.LargeText("")
		redistest.KeepsMemory(t, cfg, func() {
			for range 3 {
				redistest.PublishLarge(t, client, "c", text)
				require.Equal(t, redisbus.DropSize, receive(t, dropped))
			}
		})
		require.NoError(t, client.Publish(t.Context(), "c", "").Err())
		receive(t, tried)
		require.NoError(t, receive(t, ended))
	})
}

// Whoever may write the token's key can put 25 MB there, which each node would read once a minute.
func TestTokenThatIsTooLargeIsNotRead(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := redistest.Client(t, cfg)
		text := redistest.LargeText("")
		redistest.KeepsMemory(t, cfg, func() {
			for _, bad := range []string{text, "", "short"} {
				require.NoError(t, c.WithTimeout(time.Minute).Set(t.Context(), cfg.Keys().Token(), bad, 0).Err())
				_, err := redisbus.Token(t.Context(), c, cfg.Keys(), link.Secret{})
				require.ErrorContains(t, err, "holds something else")
			}
		})
		require.NoError(t, c.Del(t.Context(), cfg.Keys().Token()).Err())
		drawn, err := redisbus.Token(t.Context(), c, cfg.Keys(), link.Secret{})
		require.NoError(t, err)
		again, err := redisbus.KeptToken(t.Context(), c, cfg.Keys(), link.Secret{})
		require.NoError(t, err)
		require.True(t, again.Equal(drawn))
	})
}

// The client of a program may be one of the library's own for a Cluster.
func TestAnnouncementsOfAClusterAreHeard(t *testing.T) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: redistest.StartCluster(t).Addresses})
	t.Cleanup(func() { _ = client.Close() })
	tried := make(chan struct{})
	ended := await(t, newAnnouncements(t, client), "c", tried)
	receive(t, tried)
	require.NoError(t, client.Publish(t.Context(), "c", "").Err())
	receive(t, tried)
	require.NoError(t, receive(t, ended))
}

func newAnnouncements(t *testing.T, client redis.UniversalClient) *redisbus.Announcements {
	a := redisbus.NewAnnouncements(client)
	t.Cleanup(a.Close)
	return a
}

// await waits for an announcement: it ends with the second try. Each try takes the test.
func await(t *testing.T, a *redisbus.Announcements, channel string, tried chan struct{}) <-chan error {
	ended, waiting := make(chan error, 1), errors.New("not yet")
	go func() {
		var tries atomic.Int32
		ended <- a.Await(t.Context(), channel, true, func(err error) bool { return err != nil }, func() (time.Duration, error) {
			tried <- struct{}{}
			if tries.Add(1) < 2 {
				return time.Hour, waiting
			}
			return 0, nil
		})
	}()
	return ended
}
