package redisbus_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// TestATokenInRedisIsRevoked puts a new token into Redis: somebody has learned the old one.
func TestATokenInRedisIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		c := redistest.Client(t, cfg)
		require.NoError(t, c.Set(t.Context(), cfg.Keys().Token(), token.Reveal(), 0).Err())
		kept := func(c *redisbus.BusConfig) { c.TokenKept = true }
		a := start(t, cfg, "a", kept)
		time.Sleep(20 * time.Second) // the two look at different times
		b := start(t, cfg, "b", kept)
		thief := start(t, cfg, "thief") // it has the old token, and never looks
		atA, atB := inbox(a.Bus, "x"), inbox(b.Bus, "x")
		time.Sleep(5 * time.Second)
		require.NoError(t, c.Set(t.Context(), cfg.Keys().Token(), "the new token of the cluster", 0).Err())
		for range 300 {
			require.NoError(t, a.Publish(t.Context(), "x", 1))
			require.NoError(t, b.Publish(t.Context(), "x", 1))
			time.Sleep(time.Second)
		}
		require.Len(t, atA, 600, "nothing is lost meanwhile")
		require.Len(t, atB, 600)
		require.Zero(t, a.Stats().Dropped[redisbus.DropProof]+b.Stats().Dropped[redisbus.DropProof])
		require.NoError(t, thief.Publish(t.Context(), "x", "stolen"))
		require.NoError(t, a.Publish(t.Context(), "x", 1))
		time.Sleep(time.Second)
		require.Len(t, atA, 601, "the old token is worth nothing two minutes later")
		require.Len(t, atB, 601)
		require.Equal(t, "the new token of the cluster", c.Get(t.Context(), cfg.Keys().Token()).Val())
	})
}

func TestGarbageMakesNobodyReadTheTokenAtWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		c := redistest.Client(t, cfg)
		var log strings.Builder
		b := start(t, cfg, "b", func(c *redisbus.BusConfig) { c.TokenKept, c.Log = true, zerolog.New(&log) })
		for range 1000 {
			require.NoError(t, c.Publish(t.Context(), cfg.Keys().Channel(), strings.Repeat("x", 100)).Err())
		}
		time.Sleep(time.Second)
		require.EqualValues(t, 1000, b.Stats().Dropped[redisbus.DropProof])
		require.NotContains(t, log.String(), "new token")
		require.NoError(t, b.stop())
	})
}

func TestAProgramThatIsNoNodeWritesNoToken(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := redistest.Client(t, cfg)
		learn := func(ctx context.Context) (link.Secret, error) {
			return redisbus.KeptToken(ctx, c, cfg.Keys(), cfg.Token)
		}
		b, _ := newBus(t, cfg, "cli", func(bc *redisbus.BusConfig) { bc.Token, bc.Learn, bc.TokenKept = cfg.Token, learn, true })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Serve(ctx) }()
		require.ErrorIs(t, b.Publish(t.Context(), "x", 1), redisbus.ErrNoToken)
		require.Zero(t, c.Exists(t.Context(), cfg.Keys().Token()).Val())
		require.NoError(t, c.Set(t.Context(), cfg.Keys().Token(), token.Reveal(), 0).Err()) // a node has begun
		require.Eventually(t, func() bool { return b.Publish(t.Context(), "x", 1) == nil }, time.Minute, 10*time.Millisecond)
		cancel()
		require.NoError(t, <-ended)
	})
}
