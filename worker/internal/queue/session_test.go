package queue

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// answering is a hook that answers every command itself.
type answering struct{ reply any }

func (answering) DialHook(next redis.DialHook) redis.DialHook { return next }

func (answering) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (a answering) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		cmd.(interface{ SetVal(val any) }).SetVal(a.reply)
		return nil
	}
}

func TestAMalformedReplyToAClaimIsAnError(t *testing.T) {
	cfg := redistest.Embedded(t).Config()
	none := []any{}
	for _, reply := range []any{
		nil, int64(1), "OK", none, []any{nil}, []any{int64(1)}, []any{"OK"},
		[]any{"OK", none, none, none, []any{"a", "b"}, []any{"n|q|1|\nnull"}, int64(0), int64(1)},
		[]any{"OK", none, none, none, none, []any{"n|q|1|\nnull"}, int64(0), int64(1)},
		[]any{"OK", none, none, none, []any{nil}, []any{"n|q|1|\nnull"}, int64(0), int64(1)},
		[]any{"OK", none, none, none, nil, nil, int64(0), int64(1)},
		[]any{"OK", none, none, none, none, none, int64(2), int64(1)},
	} {
		client := redistest.Client(t, cfg)
		client.AddHook(answering{reply: reply})
		s := NewSession(SessionConfig{
			Redis: client, Keys: cfg.Keys(), Incarnation: "w-1#1:00", Queues: []string{"q"},
			Handles: func(string) bool { return true }, Cache: cache.New(cache.Config{Client: client, Keys: cfg.Keys()}),
		})
		_, _, err := s.Claim(t.Context(), Ask{Want: 1, AtOnce: 1})
		require.ErrorIs(t, err, link.ErrMalformedReply, "%v", reply)
	}
}

func TestAnEndThatWasAskedForIsNotedThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		cfg := server.Config()
		client := redistest.Client(t, cfg)
		keys := cfg.Keys()
		require.NoError(t, client.HSet(t.Context(), keys.Stream("w-1#1:00"), "claim", 1).Err())
		away := 3
		broken := redistest.Client(t, cfg)
		broken.AddHook(failing{left: &away})
		s := NewSession(SessionConfig{
			Redis: broken, Keys: keys, Incarnation: "w-1#1:00", Queues: []string{"q"},
			Handles: func(string) bool { return true }, Cache: cache.New(cache.Config{Client: client, Keys: keys}),
		})
		require.NoError(t, s.Resign(t.Context(), true))
		require.Zero(t, away)
		require.Equal(t, "1", client.HGet(t.Context(), keys.Stream("w-1#1:00"), "asked").Val())
	})
}

// failing is a hook that loses the replies to commands as long as there are any left to lose.
type failing struct{ left *int }

func (failing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (failing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (f failing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if *f.left == 0 {
			return next(ctx, cmd)
		}
		*f.left--
		cmd.SetErr(io.EOF)
		return io.EOF
	}
}
