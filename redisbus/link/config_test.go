package link_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

const password = "hunter2-with-%&/"

func TestSecretsPrintRedacted(t *testing.T) {
	secret := link.Secret(password)
	type holder struct {
		Secret  link.Secret
		Pointer *link.Secret
	}
	for _, value := range []any{secret, &secret, []link.Secret{secret}, holder{secret, &secret}, map[string]link.Secret{"a": secret}} {
		for verb := range strings.SplitSeq("v,+v,#v,s,q,x,X,d,T,10v,-5s", ",") {
			require.NotContains(t, fmt.Sprintf("%"+verb, value), "hunter", verb)
		}
		text, err := json.Marshal(value)
		require.NoError(t, err)
		require.NotContains(t, string(text), "hunter")
		var log strings.Builder
		logger := zerolog.New(&log)
		logger.Info().Interface("value", value).Any("any", value).Stringer("stringer", secret).Object("object", secret).Msg("")
		require.NotContains(t, log.String(), "hunter")
		require.Contains(t, log.String(), "[redacted]")
	}
	require.Equal(t, "[redacted]", secret.String())
	require.Empty(t, link.Secret("").String())
	require.Equal(t, password, secret.Reveal())
	text, err := secret.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "[redacted]", string(text))
}

func TestConfigReportsEverythingAtOnceAndNoPassword(t *testing.T) {
	require.NoError(t, link.Config{URL: "redis://localhost:6379/3"}.Validate())
	require.NoError(t, link.Config{URL: "unix:///run/redis.sock", Namespace: "a.b:c-d_E9", Token: "0123456789abcdef"}.Validate())
	require.NoError(t, embedded.New().Config().Validate())

	err := link.Config{URL: "http://user:" + "hunter2@host:99999/x", Namespace: "a{b}", Token: "short"}.Validate()
	for _, part := range []string{"redis://", "namespace", "token: weak secret: 5 bytes"} {
		require.ErrorContains(t, err, part)
	}
	for _, url := range []string{
		"", "host:6379", "redis://u:hunter2@host:port/0", "redis://u:hunter2@host:6379/zero", "redis://u:hunter2@ho st:6379",
		"redis://u:hunter2@host:6379/0?unknown=1", "redis://u:hunter2@host:6379/0?db=hunter2", "redis://u:hunter2%zz@host", "\x00hunter2",
		"redis://u:hunter2@[::1", "hunter2",
	} {
		c := link.Config{URL: url}
		err := c.Validate()
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hunter", url)
		require.NotContains(t, c.Address(), "hunter", url)
		_, err = link.Open(c, "node")
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter", url)
		_, err = link.OpenClient(c, "node")
		require.Error(t, err)
	}
	require.ErrorContains(t, link.Config{URL: "redis://h", Token: "change-me"}.Validate(), "everybody's")
	require.NotContains(t, link.Config{URL: "redis://h", Token: "hunter2"}.Validate().Error(), "hunter")
	require.NotContains(t, fmt.Sprintf("%+v %#v", link.Config{Password: password, Token: password}, link.Config{Password: password, Token: password}), "hunter")
}

func TestAddressIsForPeople(t *testing.T) {
	for url, want := range map[string]string{
		"redis://user:pass@host:6379/3?x=y": "redis://host:6379/3", "rediss://host": "rediss://host", "unix:///run/redis.sock": "unix:///run/redis.sock",
	} {
		require.Equal(t, want, link.Config{URL: url}.Address())
	}
	require.Equal(t, "embedded", embedded.New().Config().Address())
}

func TestConnectionsAreThreeAndNamed(t *testing.T) {
	server := redistest.Start(t)
	conns, err := link.Open(server.Config(), "stellar-worker-1")
	require.NoError(t, err)
	require.NoError(t, conns.Ping(t.Context()))
	sub := conns.Subscriber.Subscribe(t.Context(), "x")
	_, err = sub.Receive(t.Context())
	require.NoError(t, err)
	list := conns.Client.ClientList(t.Context()).Val()
	for _, kind := range []string{"client", "subscriber", "tasks"} {
		require.Contains(t, list, "name=stellar-worker-1:"+kind)
	}
	require.NoError(t, sub.Close())
	require.NoError(t, conns.Close())
	require.ErrorContains(t, conns.Ping(t.Context()), "client connection")
	require.NoError(t, (&link.Connections{}).Close())
}

func TestUsernameAndPasswordWinOverTheURL(t *testing.T) {
	cfg := redistest.Start(t).Config()
	require.NoError(t, redistest.Client(t, cfg).ConfigSet(t.Context(), "requirepass", "right-password").Err())
	cfg.URL = strings.Replace(cfg.URL, "unix://", "unix://default:wrong-password@", 1)
	c := redistest.Client(t, cfg)
	err := c.Ping(t.Context()).Err()
	require.Equal(t, link.DidNotRun, link.OutcomeOf(err))
	require.NotContains(t, link.Explain(err).Error(), "wrong-password")
	cfg.Username, cfg.Password = "default", "right-password"
	require.NoError(t, redistest.Client(t, cfg).Ping(t.Context()).Err())
}

// answer is an error that Redis itself gives.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

func TestOutcomeOfEveryKindOfError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want link.Outcome
	}{
		{nil, link.Ran}, {redis.Nil, link.Ran}, {answer("ERR wrong number of arguments"), link.Ran}, {answer("WRONGTYPE x"), link.Ran},
		{answer("LOADING Redis is loading"), link.DidNotRun}, {answer("READONLY You can't write"), link.DidNotRun},
		{answer("MASTERDOWN x"), link.DidNotRun}, {answer("CLUSTERDOWN x"), link.DidNotRun}, {answer("NOREPLICAS x"), link.DidNotRun},
		{answer("MISCONF x"), link.DidNotRun}, {answer("BUSY x"), link.DidNotRun}, {answer("MOVED 1 a:1"), link.DidNotRun},
		{answer("ERR max number of clients reached"), link.DidNotRun}, {answer("OOM command not allowed"), link.DidNotRun},
		{answer("ERR Error running script: -OOM command not allowed"), link.DidNotRun},
		{&net.OpError{Op: "dial", Err: io.EOF}, link.DidNotRun}, {&net.DNSError{}, link.DidNotRun}, {link.DialError(io.EOF), link.DidNotRun},
		{redis.ErrPoolTimeout, link.DidNotRun}, {redis.ErrClosed, link.DidNotRun},
		{io.EOF, link.Unknown}, {&net.OpError{Op: "read", Err: io.EOF}, link.Unknown}, {context.DeadlineExceeded, link.Unknown}, {errors.New("?"), link.Unknown},
	} {
		for _, err := range []error{c.err, wrapped(c.err)} {
			require.Equal(t, c.want, link.OutcomeOf(err), "%v", c.err)
			explained := link.Explain(err)
			full := c.err != nil && strings.Contains(c.err.Error(), "OOM")
			require.Equal(t, c.want == link.DidNotRun && !full, errors.Is(explained, link.ErrUnavailable), "%v", c.err)
			require.Equal(t, full, errors.Is(explained, link.ErrFull), "%v", c.err)
			require.Equal(t, c.want == link.Unknown, errors.Is(explained, link.ErrUnknownOutcome), "%v", c.err)
			require.ErrorIs(t, explained, c.err)
		}
	}
	require.Equal(t, context.Canceled, link.Explain(context.Canceled), "who cancels knows")
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("in a script: %w", err)
}

// A lost answer is an unknown outcome and never a silent second execution.
func TestALostAnswerIsNotRepeatedByTheClient(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		plain := redistest.Client(t, cfg)
		cut := &redistest.Cable{To: dialer(cfg)}
		cfg.Dial = cut.Dial
		c := redistest.Client(t, cfg)
		ctx, key := t.Context(), cfg.Keys().Epoch()
		script := link.NewScript(`return redis.call('INCR', KEYS[1])`)
		require.NoError(t, script.Run(ctx, c, []string{key}).Err())
		for i, run := range []func() error{
			func() error { return c.Incr(ctx, key).Err() },
			func() error { return script.Run(ctx, c, []string{key}).Err() },
		} {
			require.NoError(t, c.Ping(ctx).Err()) // what is lost is not the greeting
			cut.LoseAnswers(1)
			err := run()
			require.Equal(t, link.Unknown, link.OutcomeOf(err))
			require.ErrorIs(t, link.Explain(err), link.ErrUnknownOutcome)
			require.Eventually(t, func() bool { n, _ := plain.Get(ctx, key).Int(); return n == i+2 }, time.Minute, time.Millisecond)
		}
		// Retry repeats it, knowingly.
		require.NoError(t, c.Ping(ctx).Err())
		cut.LoseAnswers(1)
		require.NoError(t, link.Retry(ctx, func(ctx context.Context) error { return c.Incr(ctx, key).Err() }))
		n, err := plain.Get(ctx, key).Int()
		require.NoError(t, err)
		require.Equal(t, 5, n)
		// But not what Redis has answered.
		tries := 0
		err = link.Retry(ctx, func(ctx context.Context) error { tries++; return c.LPush(ctx, key, 1).Err() })
		require.ErrorContains(t, err, "WRONGTYPE")
		require.Equal(t, 1, tries)
	})
}

func dialer(cfg link.Config) func(context.Context) (net.Conn, error) {
	if cfg.Dial != nil {
		return cfg.Dial
	}
	path := strings.TrimPrefix(cfg.URL, "unix://")
	return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) }
}

func TestRetryEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	tries := 0
	err := link.Retry(ctx, func(context.Context) error { tries++; return io.EOF })
	require.ErrorIs(t, err, link.ErrUnknownOutcome)
	require.Greater(t, tries, 1)
	require.Less(t, tries, 10)
	require.ErrorIs(t, link.Sleep(ctx, time.Hour), context.DeadlineExceeded)
}

func TestPausesGrowToTwoSeconds(t *testing.T) {
	for n, most := range map[int]int64{
		-1: 50, 0: 50, 1: 50, 2: 100, 3: 200, 6: 1600, 7: 2000, 100: 2000, 1 << 30: 2000,
	} {
		for range 100 {
			d := link.Pause(n)
			require.GreaterOrEqual(t, d.Milliseconds(), most/2, n)
			require.LessOrEqual(t, d.Milliseconds(), most, n)
		}
	}
}

func TestEveryKeyIsInTheNamespacesSlot(t *testing.T) {
	k := link.NewKeys("ns")
	for _, key := range []string{k.Token(), k.Layout(), k.Epoch(), k.Members(), k.Cache("a{b}"), k.Lock("x"), k.Queue("q"), k.ConnectionsOf("a#1:x")} {
		require.True(t, strings.HasPrefix(key, "{ns}:"), key)
	}
	require.NotEqual(t, k.Inbox("x"), link.NewKeys("ns2").Inbox("x"))
}
