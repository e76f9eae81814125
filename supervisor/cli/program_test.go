package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// childPrograms are programs of their own names that the test binary can be.
var childPrograms = map[string]Program{
	"shop": {Name: "shop", Version: "1.2.3", App: func() (*worker.App, error) {
		_, _ = os.Stderr.WriteString("the shop opens\n")
		app := worker.NewApp()
		tasks.Handle(app, tasks.Definition{Name: "greet"}, func(ctx context.Context, name string) error {
			tasks.Tx(ctx).Result("hello, " + name)
			return nil
		})
		return app, nil
	}},
	"closed": {Name: "shop", App: func() (*worker.App, error) { return nil, errors.New("the shop's database is away") }},
}

func TestAProgramOfItsOwn(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, env environment) {
		set := launchApp(t, "shop", env, "--workers", "2")
		set.err.await(t, "node is running", 2)
		require.Contains(t, set.err.String(), "the shop opens\n")

		shop := func(code int, args ...string) (out, err string) {
			t.Helper()
			b := launchApp(t, "shop", env, args...)
			require.Equal(t, code, b.wait(t), b.err)
			return b.out.String(), b.err.String()
		}
		out, err := shop(0, "enqueue", "greet", `"Ada"`, "--wait")
		require.Equal(t, "\"hello, Ada\"\n", out)
		require.Empty(t, err, "who only asks makes no app")
		out, err = shop(0, "status")
		require.Contains(t, out, "stellar-worker-2")
		require.NotContains(t, out, "PROGRAM", "all nodes are its own")
		require.Empty(t, err)
		_, err = shop(2, "enqueue", "frob")
		require.Equal(t, "shop: unknown task frob: programs have defined greet; --any-name stores it anyway\n", err)
		_, err = shop(2, "call", "frob")
		require.Contains(t, err, `"shop call api.methods" lists what there is`)
		out = stellar(t, env, "status").out
		require.Contains(t, out, "stellar-worker-2", "another program's commands find the set")
		require.Contains(t, out, "PROGRAM")
		require.Contains(t, out, "shop")

		set.signal(t, syscall.SIGTERM)
		require.Zero(t, set.wait(t), set.err)
	})
}

func TestAProgramInTheDefaultNamespaceTellsOfOthers(t *testing.T) {
	t.Parallel()
	env := home(t).with("REDIS_URL", redistest.Start(t).Config().URL)
	shop := launchApp(t, "shop", env, "--workers", "1")
	shop.err.await(t, "node is running", 1)
	const told = "another program are in the default namespace"
	for _, chosen := range []bool{false, true} {
		own := env
		if chosen {
			own = env.with("STELLAR_NAMESPACE", "stellar")
		}
		set := start(t, own, echoApp(), "--workers", "1")
		set.err.await(t, "node is running", 1)
		if chosen {
			require.NotContains(t, set.err.String(), told)
		} else {
			require.Equal(t, 1, strings.Count(set.err.String(), told))
			require.Contains(t, set.err.String(), fmt.Sprintf("shop: process %d on ", shop.cmd.Process.Pid))
		}
		set.term()
		require.Zero(t, set.wait(t))
	}
	shop.signal(t, syscall.SIGTERM)
	require.Zero(t, shop.wait(t), shop.err)
}

func TestNodesOfAnotherTokenModeAreNamed(t *testing.T) {
	t.Parallel()
	env := home(t).with("REDIS_URL", redistest.Start(t).Config().URL).with("STELLAR_WORKERS", "2")
	const told = "nodes of another token mode are in this cluster"
	plain := start(t, env.with("STELLAR_TOKEN_MODE", "plain"), echoApp())
	plain.err.await(t, "node is running", 2)
	require.NotContains(t, plain.err.String(), told)
	for mode, times := range map[string]int{"hmac": 1, "both": 0} {
		set := start(t, env.with("STELLAR_TOKEN_MODE", mode).with("STELLAR_NAMESPACE", "stellar"), echoApp())
		set.err.await(t, "node is running", 2)
		require.Equal(t, times, strings.Count(set.err.String(), told), "%s: once for the process", mode)
		if times > 0 {
			require.Contains(t, set.err.String(), fmt.Sprintf("process %d on ", os.Getpid()))
			require.Contains(t, set.err.String(), `"mode":"hmac","other":"plain"`)
			require.Contains(t, set.err.String(), "--token-mode")
		}
		set.term()
		require.Zero(t, set.wait(t))
	}
	plain.term()
	require.Zero(t, plain.wait(t))
}

func TestTheTokenOfOtherImplementationsIsTakenWithAWarning(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"plain", "both"} {
		set := start(t, home(t).with("STELLAR_TOKEN_MODE", mode).with("STELLAR_TOKEN", "change-me"), echoApp(), "--workers", "3")
		set.err.await(t, "node is running", 3)
		require.Equal(t, 1, strings.Count(set.err.String(), "the token can be guessed"), "once for the process: %s", set.err)
		set.term()
		require.Zero(t, set.wait(t))
	}
}

func TestAProgramsNameIsInItsTexts(t *testing.T) {
	t.Parallel()
	env := home(t)
	shop := func(args ...string) result {
		b := launchApp(t, "shop", env, args...)
		code := b.wait(t)
		return result{code, b.out.String(), b.err.String()}
	}
	require.Equal(t, result{0, "shop 1.2.3\n", ""}, shop("version"))
	require.Equal(t, result{0, "shop 1.2.3\n", ""}, shop("--version"))
	for _, args := range [][]string{
		{"--help"}, {"help", "run"}, {"status", "--help"}, {"call", "--help"}, {"enqueue", "--help"}, {"tasks", "--help"}, {"cache", "--help"},
		{"config", "--help"}, {"demo", "--help"}, {"scale", "--help"}, {"completion", "--help"},
	} {
		r := shop(args...)
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "shop ")
		require.NotRegexp(t, `\$0|stellar (run|status|enqueue|tasks|call|cache|config|demo|does|starts)`, r.out, args)
		require.Empty(t, r.err)
	}
	require.Contains(t, shop("completion", "bash").out, "shop")
	require.Contains(t, shop("status").err, "start one (shop run)")
	require.Contains(t, shop("--workers", "2", "status").err, `shop: unknown flag --workers (see "shop status --help")`)
	r := shop("config", "check")
	require.Zero(t, r.code)
	require.Equal(t, "the shop opens\n", r.err)
}

func TestAnAppThatCannotBeMade(t *testing.T) {
	env := home(t)
	for code, args := range map[int][]string{1: {"run"}, 78: {"config", "check"}, 69: {"status"}} {
		b := launchApp(t, "closed", env, args...)
		require.Equal(t, code, b.wait(t), b.err)
		if code != 69 {
			require.Equal(t, "shop: the shop's database is away\n", b.err.String())
		}
	}
}

func TestAnAppThatIsNil(t *testing.T) {
	out := newOutput()
	none := Program{Name: "shop", App: func() (*worker.App, error) { return nil, nil }}
	for code, args := range map[int][]string{1: {"run"}, 78: {"config", "check"}} {
		process := Process{Args: append([]string{"shop"}, args...), Env: home(t).lookup, Stdout: out, Stderr: out}
		require.Equal(t, code, Main(t.Context(), none, process))
		require.Contains(t, out.String(), "shop: the program has no app: its App returned nil\n")
	}
}

func TestTheDefaultsOfAProgram(t *testing.T) {
	out := newOutput()
	process := Process{Args: []string{"/usr/bin/shop", "version"}, Stdout: out, Stderr: out}
	require.Zero(t, Main(t.Context(), Program{}, process))
	require.Regexp(t, `^shop \S+.* \(go`, out.String())
	process.Args = []string{"/usr/bin/shop", "config", "check"}
	require.Zero(t, Main(t.Context(), Program{}, process))
	require.Contains(t, out.String(), "nothing is wrong")
}
