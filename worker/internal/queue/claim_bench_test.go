package queue

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// BenchmarkClaimOfGroups is what a claim costs Redis of a million tasks in 100,000 groups, and of as many
// without groups in a queue that has a setting as well, as the script for plain queues does less.
func BenchmarkClaimOfGroups(b *testing.B) {
	for _, of := range []struct {
		name   string
		groups int
		limits Limits
	}{
		{"none", 0, Limits{Concurrency: 1 << 30}}, {"100000", 100_000, Limits{}}, {"100000, one at a time", 100_000, Limits{PerGroup: 1}},
		{"100000, rated", 100_000, Limits{GroupRate: Rate{1000, 1e9, 10}}},
	} {
		for _, want := range []int{1, 10} {
			b.Run(fmt.Sprintf("groups %s/claims of %d", of.name, want), func(b *testing.B) {
				cfg := redistest.Start(b).Config()
				c := redistest.Client(b, cfg)
				keys := cfg.Keys()
				p := NewProducer(b.Context(), c, keys)
				caller := p.Caller(b.Context(), errClosed)
				b.Cleanup(func() { caller.Close(); p.Close() })
				_, err := NewStore(c, keys).SetQueue(b.Context(), "q", "operator", of.limits.String())
				require.NoError(b, err)
				ids := p.DrawIDs(1_000_000)
				for from := range 20 {
					some := make([]Task, 0, 50_000)
					for i := range 50_000 {
						group := ""
						if of.groups > 0 {
							group = strconv.Itoa((from*50_000 + i) % of.groups)
						}
						some = append(some, NewKind("t", Line("q", group, ""), Options{}).Task(ids.Next(), NoOptions, []byte("1")))
					}
					_, _, err := caller.Enqueue(b.Context(), some)
					require.NoError(b, err)
				}
				require.NoError(b, c.ZAdd(b.Context(), keys.Leases(), redis.Z{Score: 4e12, Member: "w-1#1:00"}).Err())
				s := NewSession(SessionConfig{
					Redis: c, Keys: keys, Incarnation: "w-1#1:00", Queues: []string{"q"}, Cache: cache.New(cache.Config{Client: c, Keys: keys}),
					Handles: func(string) bool { return true },
				})
				var claims, spent float64
				for b.Loop() {
					before := evalTime(b, c)
					got, _, err := s.Claim(b.Context(), Ask{Want: want, AtOnce: want})
					require.NoError(b, err)
					require.Len(b, got, want)
					claims, spent = claims+1, spent+evalTime(b, c)-before
					runs := make([]*Run, len(got))
					for i := range got {
						runs[i] = &Run{Claimed: got[i]}
						runs[i].End(Done, nil)
					}
					_, _, err = s.Commit(b.Context(), runs)
					require.NoError(b, err)
				}
				b.ReportMetric(spent/claims, "redis-µs/claim")
			})
		}
	}
}

// evalTime returns the µs that Redis has spent in scripts.
func evalTime(b *testing.B, c *redis.Client) (us float64) {
	b.Helper()
	text, err := c.Info(b.Context(), "commandstats").Result()
	require.NoError(b, err)
	for line := range strings.Lines(text) {
		if name, rest, _ := strings.Cut(line, ":"); name == "cmdstat_evalsha" {
			_, rest, _ = strings.Cut(rest, "usec=")
			rest, _, _ = strings.Cut(rest, ",")
			us, _ = strconv.ParseFloat(rest, 64)
		}
	}
	return us
}
