package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestASetOnTheEmbeddedRedis(t *testing.T) {
	t.Parallel()
	env := home(t)
	for _, args := range [][]string{{"--workers", "4"}, {"run", "--workers", "4"}, {"run", "--cluster", "--workers", "4"}} {
		set := start(t, env, echoApp(), args...)
		set.err.await(t, "node is running", 4)
		log := set.err.String()
		require.Contains(t, log, "using the embedded one")
		for _, id := range []string{"stellar-worker-1", "stellar-worker-4"} {
			require.Contains(t, log, `"incarnation":"`+id+"#")
		}
		set.err.await(t, "4 Stellar members have joined the cluster: stellar-worker-1 to stellar-worker-4", 1)
		require.Contains(t, log, `"connections":["client","subscriber","tasks"]`)
		require.Contains(t, stellar(t, env, "status").out, "stellar-worker-4")
		require.Equal(t, "7\n", stellar(t, env, "enqueue", "echo", "7", "--wait").out)
		require.Contains(t, set.err.String(), `"payload":"7"`)
		set.term()
		require.Zero(t, set.wait(t))
		require.Contains(t, set.err.String(), "1 task done of 1 started")
		for line := range strings.Lines(set.err.String()) {
			require.True(t, json.Valid([]byte(line)), line)
		}
		require.Equal(t, 69, stellar(t, env, "status").code, "its socket is gone")
	}
}

func TestAnIdleSet(t *testing.T) {
	t.Parallel()
	set := start(t, home(t), echoApp(), "--workers", "0", "--admin-addr", "127.0.0.1:0")
	set.err.await(t, "set is starting", 1)
	set.term()
	require.Zero(t, set.wait(t))
	require.NotContains(t, set.err.String(), "node is running")
}

func TestSilence(t *testing.T) {
	t.Parallel()
	env := home(t)
	set := start(t, env, echoApp(), "--workers", "1", "--silent")
	awaitNode(t, env)
	set.term()
	require.Zero(t, set.wait(t))
	require.Empty(t, set.err.String())
}

// awaitNode waits until the set of that environment does work.
func awaitNode(t *testing.T, env environment) {
	t.Helper()
	for range 1000 {
		if r := stellar(t, env, "enqueue", "echo", "--wait"); r.code == 0 {
			return
		}
	}
	t.Fatal("no set runs")
}

func TestLogsForPeople(t *testing.T) {
	env := home(t)
	set := start(t, env, echoApp(), "--workers", "1", "--log-format", "console")
	set.err.await(t, "node is running", 1)
	require.Zero(t, stellar(t, env, "call", "api.log", `["red \u001b[31m\nalert", "warn"]`).code)
	set.err.await(t, "alert", 1)
	set.term()
	require.Zero(t, set.wait(t))
	require.Contains(t, set.err.String(), `WRN api.log node=stellar-worker-1`)
	require.Contains(t, set.err.String(), `text="red \x1b[31m\nalert"`, "what peers say is quoted")
	require.NotContains(t, set.err.String(), "\x1b")
}

func TestEveryLineCarriesTheTitle(t *testing.T) {
	set := start(t, home(t).with("STELLAR_TITLE", "shop"), echoApp(), "--workers", "1")
	set.err.await(t, "node is running", 1)
	set.term()
	require.Zero(t, set.wait(t))
	text := set.err.String()
	require.Equal(t, strings.Count(text, "\n"), strings.Count(text, `"title":"shop"`))
}

func TestRedisThatIsNotThere(t *testing.T) {
	t.Parallel() // it waits for seconds
	r := stellar(t, home(t).with("REDIS_URL", "redis://:"+secret+"@127.0.0.1:1/0"), "--workers", "1")
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, "redis://127.0.0.1:1/0")
	require.NotContains(t, r.err, secret)
}

func TestAPasswordThatIsWrong(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	const right = "right-right-right"
	require.NoError(t, redistest.Client(t, cfg).ConfigSet(t.Context(), "requirepass", right).Err())
	env := home(t).with("REDIS_URL", cfg.URL)
	r := stellar(t, env.with("REDIS_PASS", secret), "status")
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, "WRONGPASS")
	require.Contains(t, r.err, "it is that of the variable REDIS_PASS")
	require.Contains(t, stellar(t, env, "status").err, "REDIS_PASS is not set")
	wrong := write(t, "wrong", secret)
	require.Contains(t, stellar(t, env.with("REDIS_PASS_FILE", wrong), "status").err, "it is that of REDIS_PASS_FILE, "+wrong)
	r = stellar(t, env.with("REDIS_PASS", secret), "run", "--workers", "1")
	require.Equal(t, 69, r.code)
	require.Contains(t, r.err, "it is that of the variable REDIS_PASS")
	require.NotContains(t, r.err, secret)
	require.Zero(t, stellar(t, env.with("REDIS_PASS", right), "status").code)
	require.Zero(t, stellar(t, env.with("REDIS_PASS_FILE", write(t, "pass", right+"\n")), "status").code)
}

func TestFlapping(t *testing.T) {
	t.Parallel()
	app := worker.NewApp()
	app.OnStart(func(context.Context) error { return errors.New("not today") })
	set := start(t, home(t), app, "--workers", "2")
	require.Equal(t, 70, set.wait(t))
	require.Contains(t, set.err.String(), "not today")
	require.Contains(t, set.err.String(), "crashes")
}

// stubborn is an app whose task ignores its context until it is released.
func stubborn() (app *worker.App, release func()) {
	app = worker.NewApp()
	released := make(chan struct{})
	tasks.Handle(app, tasks.Definition{Name: "stubborn"}, func(ctx context.Context, _ any) error {
		worker.FromContext(ctx).Log.Info().Msg("stubborn begins")
		<-released
		return nil
	})
	release = func() { close(released) }
	return app, release
}

func TestADrainThatTakesTooLong(t *testing.T) {
	t.Parallel()
	app, release := stubborn()
	env := home(t)
	set := start(t, env, app, "--workers", "1", "--drain", "50ms", "--grace", "50ms")
	set.err.await(t, "node is running", 1)
	require.Zero(t, stellar(t, env, "enqueue", "stubborn", "--id", "mule").code)
	set.err.await(t, "stubborn begins", 1)
	set.term()
	require.Equal(t, 75, set.wait(t))
	require.Regexp(t, `still running: .*mule`, set.err.String())
	release()
}

func TestTheSecondSignalHurriesAndTheThirdEndsAtOnce(t *testing.T) {
	app, release := stubborn()
	env := home(t)
	set := start(t, env, app, "--workers", "1", "--drain", "1h", "--grace", "1h")
	set.err.await(t, "node is running", 1)
	require.Zero(t, stellar(t, env, "enqueue", "stubborn").code)
	set.err.await(t, "stubborn begins", 1)
	set.term()
	set.err.await(t, "stopping: ", 1)
	set.term()
	set.err.await(t, "stopping within a second", 1)
	set.term()
	require.Equal(t, 143, set.wait(t))
	release()
	set.err.await(t, "set has stopped", 1) // what was left behind ends, for goleak
}

var address = regexp.MustCompile(`"address":"([^"]+)"`)

func TestHealthPages(t *testing.T) {
	t.Parallel()
	app := echoApp()
	blocked := make(chan struct{})
	app.OnStart(func(ctx context.Context) error {
		select {
		case <-blocked:
		case <-ctx.Done():
		}
		return nil
	})
	const token = "0123456789abcdef"
	set := start(t, home(t).with("STELLAR_ADMIN_TOKEN", token), app, "--workers", "2", "--admin-addr", "127.0.0.1:0")
	set.err.await(t, "health pages", 1)
	base := "http://" + address.FindStringSubmatch(set.err.String())[1]
	get := func(path string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	require.Equal(t, http.StatusOK, get("/healthz"))
	require.Equal(t, http.StatusServiceUnavailable, get("/readyz"))
	close(blocked)
	set.err.await(t, "node is running", 2)
	require.Equal(t, http.StatusOK, get("/readyz"))
	require.Equal(t, http.StatusOK, get("/status"))
	set.term()
	require.Zero(t, set.wait(t))
}
