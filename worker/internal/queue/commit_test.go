package queue

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// What happens to a request on a [badLine].
const (
	brokenRequest = 'b' // Redis does not get it, and its sender does not know
	lostReply     = 'r' // Redis has run it, and its sender does not know
	unsent        = 'u' // Redis does not get it, and its sender knows
)

// badLine is a hook for the requests of commits and withdrawals; each letter of its texts is what
// happens to one request, and those beyond go through.
type badLine struct{ commits, withdrawals string }

func (*badLine) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*badLine) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *badLine) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		line := &l.commits
		if slices.Contains(cmd.Args(), any(string(Back))) {
			line = &l.withdrawals
		}
		if *line == "" {
			return next(ctx, cmd)
		}
		what := (*line)[0]
		*line = (*line)[1:]
		err := io.EOF
		switch what {
		case lostReply:
			_ = next(ctx, cmd)
		case unsent:
			err = link.DialError(errors.New("away"))
		case brokenRequest:
		default:
			return next(ctx, cmd)
		}
		cmd.SetErr(err)
		return err
	}
}

func TestACommitOnABadLineEndsTheTask(t *testing.T) {
	const small, large = 100, 300 << 10 // bytes of the result
	for name, one := range map[string]struct {
		line   badLine
		result int
		unsent bool
	}{
		"the reply of the withdrawal is lost":         {badLine{"bbb", "r"}, large, false},
		"the reply of each withdrawal is lost":        {badLine{"bbb.bbb.bbb.bbb", "rrrr"}, large, false},
		"the withdrawal and later its reply are lost": {badLine{"bbbb", "br"}, large, false},
		"the commit after the withdrawal is lost":     {badLine{"bbb.r", "r"}, large, false},
		"only the replies of the commit are lost":     {badLine{"rrr", ""}, large, false},
		"many short breaks":                           {badLine{strings.Repeat("b", 20), ""}, small, false},
		"many breaks, not in a row":                   {badLine{strings.Repeat("bbu", 10), ""}, large, false},
		"breaks of the large request alone":           {badLine{"bbbbb", ""}, large, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := redistest.Embedded(t).Config()
				client, keys := redistest.Client(t, cfg), cfg.Keys()
				producer := NewProducer(t.Context(), client, keys)
				defer producer.Close()
				_, _, err := producer.Caller(t.Context(), errClosed).Enqueue(t.Context(), []Task{NewKind("t", "q", Options{}).Task("1", NoOptions, []byte("1"))})
				require.NoError(t, err)

				bad := redistest.Client(t, cfg)
				s := NewSession(SessionConfig{
					Redis: bad, Keys: keys, Incarnation: "w-1#1:00", Queues: []string{"q"},
					Handles: func(string) bool { return true }, Cache: cache.New(cache.Config{Client: client, Keys: keys}),
				})
				require.NoError(t, client.Do(t.Context(), "ZADD", keys.Leases(), int64(1<<52), "w-1#1:00").Err())
				got, _, err := s.Claim(t.Context(), Ask{Want: 1, AtOnce: 1})
				require.NoError(t, err)
				require.Len(t, got, 1)
				_, err = s.ending.Call(t.Context(), client, []string{keys.Tasks()}, "nobody", 1) // Redis learns the script
				require.Equal(t, "FENCED", link.WordOf(err))

				bad.AddHook(&one.line)
				r := &Run{Claimed: got[0]}
				r.End(Done, nil, "", "60000", []byte(strings.Repeat("x", one.result)))
				refused, _, err := s.Commit(t.Context(), []*Run{r})
				if one.unsent {
					_, is := errors.AsType[*UnsentError](err)
					require.True(t, is, err)
					r.End(Done, nil)
					refused, _, err = s.Commit(t.Context(), []*Run{r}) // its session goes on
				}
				require.NoError(t, err)
				require.Empty(t, refused)
				left, err := client.HLen(t.Context(), keys.Owned("w-1#1:00")).Result()
				require.NoError(t, err)
				require.Zero(t, left, "the task has ended")
			})
		})
	}
}
