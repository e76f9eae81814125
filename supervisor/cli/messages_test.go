package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/cli/buscmd"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
)

// subscribed starts the command subscribe and waits until it is subscribed.
func subscribed(t *testing.T, env environment, args ...string) *running {
	t.Helper()
	r := start(t, env, nil, append([]string{"subscribe"}, args...)...)
	r.err.await(t, "subscribed to", 1)
	return r
}

// published is a payload that comes through as it is.
const published = `{"eur":1.50,"t":"<b>"}`

func TestPublishAndSubscribe(t *testing.T) {
	t.Parallel()
	withSet(t, worker.NewApp, func(t *testing.T, at place, set *supervisortest.Set) {
		got := make(chan redisbus.Message, 100)
		for _, id := range []string{"stellar-worker-1", "stellar-worker-2", "stellar-worker-3"} {
			set.Node(id).API().Bus.Subscribe("priceChanged", func(_ context.Context, m redisbus.Message) { got <- m }, redisbus.SubscribeOptions{})
		}
		lines, objects := subscribed(t, at.env, "priceChanged", "other"), subscribed(t, at.env, "-o", "json")
		r := stellar(t, at.env, "publish", "priceChanged", ` {"eur": 1.50, "t":"<b>"} `, "--meta", "tenant=a b")
		require.Equal(t, result{0, "published priceChanged to 5 subscribers\n", ""}, r)
		for range 3 {
			m := <-got
			require.JSONEq(t, published, string(m.Body))
			require.Equal(t, map[string]string{"tenant": "a b"}, m.Meta)
			require.Contains(t, m.ServerID, "stellar-cli-")
		}
		require.Zero(t, stellar(t, at.env, "publish", "unheard").code)
		require.Zero(t, stellarReading(t, at.env, `"\u001b[2J"`, "publish", "other", "-").code)
		require.NoError(t, set.Node("stellar-worker-2").API().Bus.Publish(t.Context(), "priceChanged", nil))
		for range 3 {
			require.Empty(t, (<-got).Body)
		}
		lines.out.await(t, "priceChanged", 2)
		require.Regexp(t, `^20\S+Z stellar-cli-\S+ priceChanged \{"eur":1\.50,"t":"<b>"\} meta=\{"tenant":"a b"\}\n`+
			`20\S+Z stellar-cli-\S+ other "\\u001b\[2J"\n20\S+Z stellar-worker-2 priceChanged\n$`, lines.out.String())
		objects.out.await(t, "stellar-worker-2", 1)
		var m buscmd.Message
		for line := range strings.Lines(objects.out.String()) {
			require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		}
		require.Equal(t, "priceChanged", m.MessageType)
		require.Positive(t, m.Seq)
		require.NotEmpty(t, m.Incarnation)
		require.WithinDuration(t, time.Now(), m.SentAt, 5*time.Minute)
		require.Contains(t, objects.out.String(), `"unheard"`)

		r = stellar(t, at.env, "publish", "priceChanged", "1", "--node", "stellar-worker-3", "-o", "json")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, `"receivers": 1`)
		require.Equal(t, "1", string((<-got).Body))
		for _, r := range []*running{lines, objects} {
			r.signals <- syscall.SIGINT
			require.Zero(t, r.wait(t))
			require.NotContains(t, r.err.String(), "dropped")
			require.Equal(t, 1, strings.Count(r.err.String(), "\n"))
		}
	})
}

func TestASubscriptionEndsAfterACountOrATime(t *testing.T) {
	t.Parallel()
	withSet(t, worker.NewApp, func(t *testing.T, at place, set *supervisortest.Set) {
		two := subscribed(t, at.env, "a", "--count", "2", "--timeout", "1m")
		bus := set.Node("stellar-worker-1").API().Bus
		for n := range 3 {
			require.NoError(t, bus.Publish(t.Context(), "a", n))
		}
		require.Zero(t, two.wait(t))
		require.Regexp(t, `a 0\n.*a 1\n$`, two.out.String())

		require.Zero(t, stellar(t, at.env, "subscribe", "--timeout", "50ms").code)
		r := stellar(t, at.env, "subscribe", "a", "--count", "1", "--timeout", "50ms")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, "0 of 1 message came within 50ms")
		r = stellar(t, at.env, "subscribe", "a", "--count", "2", "--timeout", "50ms")
		require.Contains(t, r.err, "0 of 2 messages came within 50ms")
	})
}

func TestASubscriptionTellsWhatItDropsAndWhatItMissed(t *testing.T) {
	t.Parallel()
	withSet(t, worker.NewApp, func(t *testing.T, at place, set *supervisortest.Set) {
		r := subscribed(t, at.env, "a")
		client, channel := redistest.Client(t, at.cfg), at.cfg.Keys().Channel()
		bus := set.Node("stellar-worker-1").API().Bus
		require.NoError(t, bus.Publish(t.Context(), "a", "before"))
		r.out.await(t, "before", 1)
		require.NoError(t, client.Publish(t.Context(), channel, `{"messageType":"a"}`).Err())
		r.err.await(t, "messages dropped: 1 without a valid proof", 1)
		require.Contains(t, r.err.String(), "STELLAR_TOKEN")
		require.NoError(t, client.Publish(t.Context(), channel, `{"messageType":"a"}`).Err())

		// Its connection breaks; what comes meanwhile is lost, and that is said.
		if at.env["REDIS_URL"] != "" { // the embedded one kills nobody
			require.NoError(t, client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())
			r.err.await(t, "subscribed again after an interruption", 1)
		}
		require.NoError(t, bus.Publish(t.Context(), "a", "after"))
		r.out.await(t, "after", 1)
		r.signals <- syscall.SIGINT
		require.Zero(t, r.wait(t))
		require.Equal(t, 2, strings.Count(r.err.String(), "messages dropped: 1 without a valid proof"), r.err)
	})
}

func TestASubscriptionSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	env := home(t).with("REDIS_URL", server.Config().URL).with("STELLAR_TOKEN", "the-token-of-the-cluster")
	r := subscribed(t, env, "a")
	server.Kill()
	r.err.await(t, "redis fails (", 1)
	require.NoError(t, server.Run())
	r.err.await(t, "subscribed again after an interruption", 1)
	require.Equal(t, "published a to 1 subscriber\n", stellar(t, env, "publish", "a", `"after"`).out)
	r.out.await(t, `a "after"`, 1)
	r.signals <- syscall.SIGINT
	require.Zero(t, r.wait(t))
	require.Equal(t, 1, strings.Count(r.err.String(), "redis fails"))
}

// A command that subscribes is no node: calls to all leave it out.
func TestASubscriptionIsNeverCalled(t *testing.T) {
	t.Parallel()
	withSet(t, worker.NewApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		sub := subscribed(t, at.env)
		for _, method := range []string{"api.ping", "api.cache.size"} {
			r := stellar(t, at.env, "call", method, "--all")
			require.Zero(t, r.code, r.err)
			require.Equal(t, 4, strings.Count(r.out, "\n"), "a header and three nodes: %s", r.out)
			require.NotContains(t, r.out, "stellar-cli-")
		}
		sub.signals <- syscall.SIGINT
		require.Zero(t, sub.wait(t))
	})
}

// Without TYPE calls, such as that with which publish checks who understands it, are not shown.
func TestASubscriptionShowsCallsOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	withSet(t, worker.NewApp, func(t *testing.T, at place, _ *supervisortest.Set) {
		all, calls := subscribed(t, at.env), subscribed(t, at.env, "call")
		for _, kind := range []string{"first", "last"} {
			require.Zero(t, stellar(t, at.env, "publish", kind).code)
		}
		calls.out.await(t, ` call {"deadline":`, 2)
		require.Contains(t, calls.out.String(), `"method":"api.ping"`)
		all.out.await(t, " last\n", 1)
		require.Regexp(t, `^\S+ \S+ first\n\S+ \S+ last\n$`, all.out.String())
		for _, r := range []*running{all, calls} {
			r.signals <- syscall.SIGINT
			require.Zero(t, r.wait(t))
		}
	})
}

func TestPublishSaysWhyNobodyHearsIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no type":        {[]string{"publish"}, 2, "TYPE [PAYLOAD-JSON]"},
		"no name":        {[]string{"publish", "a b"}, 2, `TYPE "a b": `},
		"no JSON":        {[]string{"publish", "a", "{x}"}, 2, `for example '{"item": 7}'`},
		"no meta":        {[]string{"publish", "a", "--meta", "x"}, 2, "KEY=VALUE"},
		"no count":       {[]string{"subscribe", "--count", "0"}, 2, "--count: 0 is not positive"},
		"no time":        {[]string{"subscribe", "--timeout", "0s"}, 2, "--timeout: 0s is not positive"},
		"no name to see": {[]string{"subscribe", "a", "b*"}, 2, `TYPE "b*": `},
		"no set":         {[]string{"subscribe"}, 69, "no running set found"},
		"no set either":  {[]string{"publish", "a"}, 69, "no running set found"},
	} {
		t.Run(name, func(t *testing.T) {
			r := stellar(t, home(t), c.args...)
			require.Equal(t, c.code, r.code, r.err)
			require.Contains(t, r.err, c.says)
			require.Empty(t, r.out)
		})
	}
	each(t, func(t *testing.T, at place) {
		refused := func(env environment, code int, says string, args ...string) {
			t.Helper()
			r := stellar(t, env, args...)
			require.Equal(t, code, r.code, r.err)
			require.Contains(t, r.err, says)
		}
		const token = "the-token-of-the-cluster"
		own := at.env.with("STELLAR_TOKEN", token)
		refused(at.env, 69, "no cluster is in the namespace", "publish", "a")
		refused(at.env, 69, "no cluster is in the namespace", "subscribe", "a")
		refused(own, 69, "nobody listens in namespace stellar", "publish", "a")

		cfg := at.cfg
		cfg.Token = link.NewSecret(token)
		supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 2, Redis: cfg})
		for _, command := range [][]string{{"publish", "a"}, {"subscribe"}, {"call", "api.ping"}} {
			refused(at.env, 78, "have a token of their own: set STELLAR_TOKEN", command...)
		}
		wrong := at.env.with("STELLAR_TOKEN", "another-token-than-theirs")
		refused(wrong, 1, "another token (STELLAR_TOKEN", "publish", "a")
		sub := subscribed(t, wrong)
		refused(wrong, 1, "another token (STELLAR_TOKEN", "publish", "a") // that a command hears it is no answer of a node
		sub.signals <- syscall.SIGINT
		require.Zero(t, sub.wait(t))
		refused(own.with("STELLAR_TOKEN_MODE", "plain"), 1, "token mode plain", "publish", "a")
		refused(own, 1, "nobody listens as frob: the message is lost", "publish", "a", "--node", "frob")
		refused(own, 2, "262144 bytes", "publish", "a", `"`+strings.Repeat("x", redisbus.MaxMessage)+`"`)
		refused(own, 2, "same key twice", "publish", "a", `{"a":1,"a":2}`)
		require.Zero(t, stellar(t, own, "publish", "a").code)
	})
}

// A message of another implementation carries the cluster's token, which is not shown.
func TestTheTokenOfOthersIsNotShown(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		env := at.env.with("STELLAR_TOKEN", "the-token-of-them-all").with("STELLAR_TOKEN_MODE", "plain")
		lines, objects := subscribed(t, env), subscribed(t, env, "-o", "json")
		message := fmt.Sprintf(`{"messageType":"chat","serverId":"theirs","serverToken":%q,"text":"h\u001bi","room":{"a":1}}`, "the-token-of-them-all")
		client := redistest.Client(t, at.cfg)
		require.NoError(t, client.Publish(t.Context(), at.cfg.Keys().Channel(), message).Err())
		lines.out.await(t, "\n", 1)
		objects.out.await(t, "\n", 1)
		require.Equal(t, `- theirs chat {"text":"h\u001bi","room":{"a":1}}`+"\n", lines.out.String())
		require.JSONEq(t, `{"messageType":"chat","serverId":"theirs","body":{"text":"h\u001bi","room":{"a":1}}}`, objects.out.String())
		require.NotContains(t, objects.out.String(), "\x1b")
	})
}

func TestTheBinaryPublishesAndSubscribes(t *testing.T) {
	t.Parallel()
	path, env := built(t), home(t)
	set := launch(t, path, env, "--workers", "2", "--workerPrefix", "app-")
	set.err.await(t, "node is running", 2)
	require.Contains(t, set.err.String(), `"node":"app-2"`)
	sub := launch(t, path, env, "subscribe", "priceChanged")
	sub.err.await(t, "subscribed to priceChanged", 1)
	require.Zero(t, launch(t, path, env, "publish", "priceChanged", published).wait(t))
	sub.out.await(t, "priceChanged "+published+"\n", 1)
	require.NoError(t, sub.cmd.Process.Signal(syscall.SIGINT))
	require.Zero(t, sub.wait(t), sub.err)
	require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, set.wait(t), set.err)
}
