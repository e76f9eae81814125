package link_test

import (
	"bytes"
	"context"
	"encoding/gob"
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

// holder holds secrets wherever a program may hold them. Printers cannot call the methods of
// what is in an unexported field.
type holder struct {
	Secret  link.Secret
	Pointer *link.Secret
	Config  link.Config
	List    []link.Secret
	Map     map[string]link.Secret

	secret link.Secret
	list   []link.Secret
	key    map[link.Secret]int
	config struct{ token, also link.Secret }
}

// printed returns what every printer makes of a value.
func printed(t *testing.T, value any) string {
	t.Helper()
	var all strings.Builder
	for verb := range strings.SplitSeq("v,+v,#v,s,q,x,X,d,T,10v,-5s", ",") {
		_, _ = fmt.Fprintf(&all, "%"+verb+"\n", value)
	}
	fmt.Fprintln(&all, value)
	text, err := json.Marshal(value)
	require.NoError(t, err)
	all.Write(text)
	logger := zerolog.New(&all)
	logger.Info().Interface("value", value).Any("any", value).Msgf("%v", value)
	return all.String()
}

func TestNoPrinterRevealsASecret(t *testing.T) {
	secret := link.NewSecret(password)
	config := link.Config{
		URL:      "redis+sentinel://ada:hunter2@h:1/m?sentinel_password=hunter2",
		Password: secret, SentinelPassword: secret, Token: secret, AlsoAccept: secret,
	}
	full := holder{
		Secret: secret, Pointer: &secret, Config: config, List: []link.Secret{secret}, Map: map[string]link.Secret{"a": secret},
		secret: secret, list: []link.Secret{secret}, key: map[link.Secret]int{secret: 1},
	}
	full.config.token, full.config.also = secret, secret
	sealed := struct{ config link.Config }{config.Sealed()} // as what runs keeps it
	for _, value := range []any{
		secret, &secret, full, &full, []any{full}, map[string]any{"a": full}, config, &config, sealed, &sealed,
		[]link.Secret{secret}, map[link.Secret]int{secret: 1}, map[string]link.Secret{"a": secret},
	} {
		require.NotContains(t, printed(t, value), "hunter")
		require.NotContains(t, printed(t, value), "68756e746572", "in hexadecimal")
	}
	for _, value := range []any{secret, sealed} { // a wrong verb prints without any methods
		require.NotContains(t, fmt.Sprintf("%"+"p", value), "hunter")
	}
	require.Contains(t, printed(t, secret), "[redacted]")
	require.NotContains(t, config.String()+config.GoString(), "hunter")
	require.Contains(t, config.String(), "redis+sentinel://h:1/m")
	var log strings.Builder
	logger := zerolog.New(&log)
	logger.Info().Stringer("stringer", secret).Object("object", secret).Object("config", config).Stringer("c", config).Msg("")
	require.NotContains(t, log.String(), "hunter")

	var wire bytes.Buffer
	require.NoError(t, gob.NewEncoder(&wire).Encode(struct{ A, B link.Secret }{A: secret}))
	require.NotContains(t, wire.String(), "hunter")
	var back struct{ A, B link.Secret }
	require.NoError(t, gob.NewDecoder(&wire).Decode(&back))
	require.True(t, back.A.IsZero())

	require.Equal(t, "[redacted]", secret.String())
	require.Empty(t, link.NewSecret("").String())
	require.Equal(t, password, secret.Reveal())
	text, err := secret.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "[redacted]", string(text))
}

func TestSecretsAreComparedByTheirText(t *testing.T) {
	secret := link.NewSecret(password)
	require.True(t, secret.Equal(link.NewSecret(password)))
	require.False(t, secret.Equal(link.NewSecret(password+"x")))
	require.False(t, secret.Equal(link.Secret{}))
	require.True(t, link.Secret{}.Equal(link.NewSecret("")))
	require.Equal(t, secret, secret.Or(link.NewSecret("x")))
	require.Equal(t, secret, link.Secret{}.Or(secret))
}

// What runs keeps the configuration without secrets in its URL, and means the same.
func TestASealedConfigurationMeansTheSame(t *testing.T) {
	own := link.NewSecret("own")
	for url, want := range map[string]link.Config{
		"redis://h:1/3":                  {URL: "redis://h:1/3"},
		"redis://ada@h":                  {URL: "redis://h", Username: "ada"},
		"rediss://:p%40w@h/0?ca=/x":      {URL: "rediss://h/0?ca=%2Fx", Password: link.NewSecret("p@w")},
		"redis+cluster://ada:pw@a:1,b:2": {URL: "redis+cluster://a:1,b:2", Username: "ada", Password: link.NewSecret("pw")},
		"redis+sentinel://:pw@a,b/m/1?sentinel_user=s&sentinel_password=spw": {
			URL: "redis+sentinel://a,b/m/1", Password: link.NewSecret("pw"), SentinelUsername: "s", SentinelPassword: link.NewSecret("spw"),
		},
		"unix://ada:pw@/run/redis.sock": {URL: "unix:///run/redis.sock", Username: "ada", Password: link.NewSecret("pw")},
	} {
		c := link.Config{URL: url}
		require.Equal(t, want, c.Sealed(), url)
		require.Equal(t, c.Sealed(), c.Sealed().Sealed())
		require.Equal(t, c.Address(), c.Sealed().Address())
		require.False(t, c.Sealed().HoldsPassword())
		c.Username, c.Password, c.SentinelUsername, c.SentinelPassword = "bob", own, "eve", own
		require.Equal(t, "bob", c.Sealed().Username, "the fields win")
		require.Equal(t, own, c.Sealed().Password)
		require.Equal(t, "eve", c.Sealed().SentinelUsername)
		require.Equal(t, own, c.Sealed().SentinelPassword)
	}
	require.Equal(t, link.Config{}, link.Config{}.Sealed())
}

// The client library gets its password from a function, so that its options do not hold it.
func TestTheClientsOptionsHoldNoPassword(t *testing.T) {
	c, err := link.OpenClient(link.Config{URL: "redis://ada:hunter2@h:1"}, "x")
	require.NoError(t, err)
	defer c.Close()
	require.NotContains(t, fmt.Sprintf("%+v %#v", c.Options(), *c.Options()), "hunter")
	user, given := c.Options().CredentialsProvider()
	require.Equal(t, "ada", user)
	require.Equal(t, "hunter2", given)
}

func TestConfigReportsEverythingAtOnceAndNoPassword(t *testing.T) {
	require.NoError(t, link.Config{URL: "redis://localhost:6379/3"}.Validate())
	require.NoError(t, link.Config{URL: "unix:///run/redis.sock", Namespace: "a.b-c-d_E9", Token: link.NewSecret("0123456789abcdef")}.Validate())
	require.NoError(t, embedded.New().Config().Validate())

	err := link.Config{URL: "http://user:" + "hunter2@host:99999/x", Namespace: "a{b}", Token: link.NewSecret("short")}.Validate()
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
	require.ErrorContains(t, link.Config{URL: "redis://h", Token: link.NewSecret("change-me")}.Validate(), "everybody's")
	require.NotContains(t, link.Config{URL: "redis://h", Token: link.NewSecret("hunter2")}.Validate().Error(), "hunter")
	require.NotContains(t, fmt.Sprintf("%+v %#v", link.Config{Password: link.NewSecret(password), Token: link.NewSecret(password)}, link.Config{Password: link.NewSecret(password), Token: link.NewSecret(password)}), "hunter")
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
	cfg.Username, cfg.Password = "default", link.NewSecret("right-password")
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
