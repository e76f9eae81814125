package link_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestReportsSayEachCauseOnceAMinuteAndOneEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := link.NewReports(zerolog.New(&log))
		lines := func() []string {
			defer log.Reset()
			return strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
		}
		none := []string{""}
		r.Works("a")
		require.Equal(t, none, lines())
		refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		for range 1000 {
			r.Failed("a", refused)
			r.Failed("b", link.Explain(refused))
			time.Sleep(50 * time.Millisecond)
		}
		got := lines()
		require.Len(t, got, 1)
		require.Contains(t, got[0], `"cause":"unreachable"`)
		require.Contains(t, got[0], "it is down, or the address is wrong")
		r.Failed("a", answer("LOADING Redis is loading"))
		require.Contains(t, lines()[0], "loads its data")
		r.Works("a")
		require.Equal(t, none, lines(), "b still fails")
		r.Failed("b", nil)
		require.Contains(t, lines()[0], "redis is back")
		r.Failed("a", refused)
		r.Works("a")
		require.Equal(t, none, lines(), "what comes and goes within the minute is not told again")
		time.Sleep(time.Minute)
		r.Failed("a", refused)
		require.Contains(t, lines()[0], `"failures":2001`)
		r.Works("a")
		require.Contains(t, lines()[0], "redis is back")
		r.Failed("a", context.Canceled)
		r.Failed("a", errors.New("odd"))
		require.Contains(t, lines()[0], "odd")
		r.Failed("b", errors.New("odd"))
		r.Ended("a")
		r.Ended("b")
		r.Works("a")
		require.Equal(t, none, lines(), "who has ended does not know whether it is back")
		time.Sleep(time.Minute)
		r.Failed("a", errors.New("odd"))
		r.Failed("b", errors.New("odd"))
		r.Ended("b")
		require.Len(t, lines(), 1)
		r.Works("a")
		require.Contains(t, lines()[0], "redis takes what it had refused")
	})
}

// failures counts what it hears of, by part and cause.
type failures map[string]int

func (f failures) RedisFailed(part string, cause link.Cause, err error) {
	f[part+" "+string(cause)+" "+err.Error()]++
}

func TestObserverHearsOfEveryFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := failures{}
		r := link.NewReports(zerolog.Nop())
		r.Observer = heard
		for range 3 {
			r.Failed("a", answer("LOADING x"))
		}
		r.Failed("b", answer("BUSY x"))
		r.Failed("b", nil)
		r.Failed("a", context.Canceled)
		r.Works("a")
		require.Equal(t, failures{"a loading LOADING x": 3, "b script BUSY x": 1}, heard)
	})
}

func TestARequestIsNotRepeatedInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		heard := failures{}
		r := link.NewReports(zerolog.New(&log))
		r.Observer = heard
		fails := func(times int) func(context.Context) error {
			return func(context.Context) error {
				if times--; times < 0 {
					return nil
				}
				return io.EOF
			}
		}
		require.NoError(t, r.Retry(t.Context(), "claims", fails(link.FewTries-1)))
		require.Empty(t, log.String(), "a connection breaks now and then")
		require.NoError(t, r.Retry(t.Context(), "claims", fails(100)))
		require.Contains(t, log.String(), `"part":"claims"`)
		require.Contains(t, log.String(), "the connection broke; trying again")
		require.Contains(t, log.String(), "redis is back")
		require.Equal(t, failures{"claims connection EOF": 100 - (link.FewTries - 1)}, heard)

		log.Reset()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.ErrorIs(t, r.Retry(ctx, "claims", fails(math.MaxInt32)), link.ErrUnknownOutcome)
		require.InDelta(t, 60, strings.Count(log.String(), "trying again"), 1, "a line a minute")
		r.Works("claims")
		require.NotContains(t, log.String(), "is back", "who gave up does not know")
	})
}

func TestEveryCauseIsExplainedToAnOperator(t *testing.T) {
	for _, c := range []struct {
		err   error
		cause link.Cause
		want  string
	}{
		{answer("LOADING x"), link.CauseLoading, "loads its data"},
		{answer("READONLY x"), link.CauseReplica, "is a replica"},
		{answer("CLUSTERDOWN x"), link.CauseCluster, "Redis Cluster"},
		{answer("NOREPLICAS x"), link.CauseReplicas, "min-replicas-to-write"},
		{answer("MISCONF x"), link.CauseDisk, "disk"},
		{answer("BUSY x"), link.CauseScript, "script"},
		{answer("NOAUTH x"), link.CausePassword, "password"},
		{answer("WRONGPASS x"), link.CausePassword, "password"},
		{answer("NOPERM x"), link.CauseRights, "ACL"},
		{answer("ERR The user executing the script can't run this command: ACL failure in script: x"), link.CauseRights, "ACL"},
		{answer("ERR The user executing the script can't run this command or subcommand script: x"), link.CauseRights, "ACL"},
		{answer("ERR max number of clients reached"), link.CauseClients, "maxclients"},
		{answer("OOM command not allowed"), link.CauseMemory, "maxmemory"},
		{answer("ERR Protocol error: invalid bulk length"), link.CauseSize, "proto-max-bulk-len"},
		{&net.OpError{Op: "dial", Err: io.EOF}, link.CauseRefused, "is down"},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, link.CauseSilent, "no answer in time"},
		{&net.OpError{Op: "dial", Err: errors.New("remote error: tls: bad certificate")}, link.CauseTLS, "certificate"},
		{io.EOF, link.CauseConnection, "did not answer"},
		{answer("WRONGTYPE x"), link.CauseNone, "WRONGTYPE"},
	} {
		require.Equal(t, c.cause, link.CauseOf(c.err), "%v", c.err)
		require.ErrorContains(t, link.Explain(c.err), c.want)
		require.Equal(t, c.cause, link.CauseOf(link.Explain(c.err)), "%v", c.err)
	}
}

func TestReportsNameEachKeyOfAWrongType(t *testing.T) {
	var log strings.Builder
	r := link.NewReports(zerolog.New(&log))
	for range 3 {
		for _, key := range []string{"{s}:tries", "{s}:parked"} {
			r.Failed("claims", &link.WrongTypeError{Key: key, Type: "zset"})
		}
	}
	require.Equal(t, 2, strings.Count(log.String(), `"cause":"type"`), "once for each key")
	require.Contains(t, log.String(), "it is a zset, a hash is needed")
	log.Reset()
	r.Works("claims")
	require.Contains(t, log.String(), "redis takes what it had refused")
	require.NotContains(t, log.String(), "redis is back")
}

func TestInsistWaitsForAKeyOfAWrongTypeAndRetryDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := link.NewReports(zerolog.New(&log))
		calls := 0
		refuse := func(context.Context) error {
			if calls++; calls < 5 {
				return &link.WrongTypeError{Key: "{s}:tries"}
			}
			return nil
		}
		require.Error(t, r.Retry(t.Context(), "enqueue", refuse))
		require.Equal(t, 1, calls)
		require.Empty(t, log.String())
		require.NoError(t, r.Insist(t.Context(), "claims", refuse))
		require.Contains(t, log.String(), `"part":"claims"`)
		require.Contains(t, log.String(), "redis takes what it had refused")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		calls = -1000
		require.True(t, link.IsWrongType(r.Insist(ctx, "claims", refuse)), "the last error when ctx ends")
	})
}
