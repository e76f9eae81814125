package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/cli/setcmd"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// childApp is the variable that makes the test binary the program, with one of
// the childApps, instead of running tests.
const childApp = "STELLAR_TEST_APP"

var childApps = map[string]func() (*worker.App, error){
	"stubborn": func() (*worker.App, error) {
		app, _ := stubborn()
		tasks.Handle(app, tasks.Definition{Name: "slow"}, func(_ context.Context, ms int) error {
			time.Sleep(time.Duration(ms) * time.Millisecond)
			return nil
		})
		return app, nil
	},
	"guarded": guardedApp,
	"doomed":  doomedApp,
	"broken": func() (*worker.App, error) {
		app := worker.NewApp()
		app.OnStart(func(context.Context) error { panic("no licence") })
		return app, nil
	},
}

// launchApp starts the test binary as the program with that app.
func launchApp(t *testing.T, app string, env environment, args ...string) *binary {
	t.Helper()
	return launch(t, os.Args[0], env.with(childApp, app), args...)
}

func (b *binary) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, b.cmd.Process.Signal(s))
}

// places are an embedded Redis, which is the program's own, and a real one.
func places(t *testing.T, scenario func(t *testing.T, env environment)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		scenario(t, home(t))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		scenario(t, home(t).with("REDIS_URL", redistest.Start(t).Config().URL))
	})
}

// shown is what status tells for scripts.
type shown struct {
	Nodes []setcmd.Node       `json:"nodes"`
	Sets  []builtin.SetStatus `json:"sets"`
}

func statusFor(t *testing.T, env environment) (s shown, text string) {
	t.Helper()
	r := stellar(t, env, "status", "-o", "json")
	require.Zero(t, r.code, r.err)
	require.NoError(t, json.Unmarshal([]byte(r.out), &s))
	return s, r.out
}

// awaitNodes waits until so many nodes run and no other is left.
func awaitNodes(t *testing.T, env environment, n int) shown {
	t.Helper()
	var s shown
	require.Eventually(t, func() bool {
		s, _ = statusFor(t, env)
		for _, node := range s.Nodes {
			if node.State != string(membership.Running) {
				return false
			}
		}
		return len(s.Nodes) == n
	}, patient, 20*time.Millisecond)
	return s
}

func lives(s shown) (all []string) {
	for _, n := range s.Nodes {
		all = append(all, n.Incarnation)
	}
	return all
}

func TestTheTaskOfAHandlerThatNeverReturnedComesBack(t *testing.T) {
	t.Parallel() // it waits for the time of a zombie
	env := home(t).with("REDIS_URL", redistest.Start(t).Config().URL)
	set := launchApp(t, "stubborn", env, "--workers", "1", "--drain", "50ms", "--grace", "50ms")
	set.err.await(t, "node is running", 1)
	require.Zero(t, stellar(t, env, "enqueue", "stubborn", "--id", "mule").code)
	set.err.await(t, "stubborn begins", 1)
	set.signal(t, syscall.SIGTERM)
	require.Equal(t, 75, set.wait(t))
	app := worker.NewApp()
	came := make(chan string, 1)
	tasks.Handle(app, tasks.Definition{Name: "stubborn"}, func(ctx context.Context, _ any) error {
		info := tasks.InfoOf(ctx)
		came <- info.ID
		return nil
	})
	supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: link.Config{URL: env["REDIS_URL"]}})
	select {
	case id := <-came:
		require.Equal(t, "mule", id)
	case <-time.After(70 * time.Second): // the time of a zombie, and a lease
		t.Fatal("its task did not come back")
	}
}

func TestTheSecondAndThirdSignalOfTheBinary(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, env environment) {
		begin := func() *binary {
			set := launchApp(t, "stubborn", env, "--workers", "1", "--drain", "1h", "--grace", "100ms")
			set.err.await(t, "node is running", 1)
			require.Zero(t, stellar(t, env, "enqueue", "stubborn").code)
			set.err.await(t, "stubborn begins", 1)
			set.signal(t, syscall.SIGTERM)
			set.err.await(t, "stopping: ", 1)
			return set
		}
		set := begin()
		set.signal(t, syscall.SIGINT)
		require.Equal(t, 75, set.wait(t), "the second signal cuts an hour to a second")
		set = begin()
		set.signal(t, syscall.SIGTERM)
		set.err.await(t, "stopping within a second", 1)
		set.signal(t, syscall.SIGINT)
		require.Contains(t, []int{130, 75}, set.wait(t), "the third ends it at once")
	})
}

func TestFlappingOfTheBinary(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, env environment) {
		set := launchApp(t, "broken", env, "--workers", "2")
		require.Equal(t, 70, set.wait(t))
		text := set.err.String()
		require.Regexp(t, `flapping: .* 5 crashes in 30s: stellar-worker-1 \d times, at last: .*no licence; stellar-worker-2 \d times`, text)
		require.Equal(t, 2, strings.Count(text, `"stack":`), "the stack is told once for each node")
	})
}

func TestOperatingASetFromTheShell(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, env environment) {
		set := start(t, env, echoApp(), "--workers", "2")
		set.err.await(t, "node is running", 2)
		before := lives(awaitNodes(t, env, 2))
		r := stellar(t, env, "scale", "4")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "from 2 to 4 nodes")
		awaitNodes(t, env, 4)
		r = stellar(t, env, "roll")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "4 nodes run anew")
		after := lives(awaitNodes(t, env, 4))
		require.NotContains(t, after, before[0])
		r = stellar(t, env, "reload", "-o", "json")
		require.Zero(t, r.code, r.err)
		var s builtin.SetStatus
		require.NoError(t, json.Unmarshal([]byte(r.out), &s))
		require.Equal(t, "reload", s.Operation.Kind)
		require.Equal(t, 4, s.Operation.Done)
		require.Zero(t, stellar(t, env, "quiet", "--node", "stellar-worker-3").code)
		st, _ := statusFor(t, env)
		require.True(t, st.Sets[0].Quiet)
		require.Zero(t, stellar(t, env, "resume").code)
		st, _ = statusFor(t, env)
		require.False(t, st.Sets[0].Quiet)
		r = stellar(t, env, "scale", "0")
		require.Zero(t, r.code, r.err)
		r = stellar(t, env, "scale", "1")
		require.Equal(t, 69, r.code)
		require.Contains(t, r.err, "TTIN")
		for _, args := range [][]string{{"scale"}, {"scale", "-1"}, {"scale", "many"}, {"scale", "10001"}, {"roll", "now"}, {"roll", "--timeout", "0s"}} {
			require.Equal(t, 2, stellar(t, env, args...).code, args)
		}
		set.term()
		require.Zero(t, set.wait(t))
	})
}

func TestOperatingOneOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	env := home(t).with("REDIS_URL", redistest.Start(t).Config().URL)
	set := start(t, env, echoApp(), "--workers", "1")
	set.err.await(t, "node is running", 1)
	other := launchApp(t, "stubborn", env, "--workers", "2")
	other.err.await(t, "node is running", 2)
	r := stellar(t, env, "roll")
	require.Equal(t, 2, r.code)
	require.Regexp(t, `--node stellar-worker-1 +process `+strconv.Itoa(os.Getpid()), r.err)
	require.Regexp(t, `--node stellar-worker-2 +process `+strconv.Itoa(other.cmd.Process.Pid)+` on .*, 2 nodes`, r.err)
	r = stellar(t, env, "scale", "1", "--node", "stellar-worker-3")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "from 2 to 1 node")
	require.Equal(t, []string{"stellar-worker-1", "stellar-worker-2"}, nodesOf(awaitNodes(t, env, 2)))
	r = stellar(t, env, "roll", "--node", "nobody")
	require.Contains(t, r.err, "no live node nobody")
	require.NotZero(t, r.code)
	set.term()
	require.Zero(t, set.wait(t))
	other.signal(t, syscall.SIGTERM)
	require.Zero(t, other.wait(t))
}

func nodesOf(s shown) (all []string) {
	for _, n := range s.Nodes {
		all = append(all, n.ID)
	}
	return all
}

func TestARollThatFailsSaysWhichNode(t *testing.T) {
	t.Parallel()
	app := echoApp()
	broken := make(chan struct{})
	app.OnStart(func(context.Context) error {
		select {
		case <-broken:
			return errors.New("no licence")
		default:
			return nil
		}
	})
	cfg := redistest.Embedded(t)
	env := home(t)
	socket := filepath.Join(env["XDG_RUNTIME_DIR"], "s")
	_, err := cfg.Listen(t.Context(), socket)
	require.NoError(t, err)
	env = env.with("STELLAR_SOCKET", socket)
	supervisortest.StartWith(t, app, supervisor.Config{
		Workers: 2, Redis: cfg.Config(), ReadyTime: 500 * time.Millisecond, CrashLimit: -1,
	})
	close(broken)
	r := stellar(t, env, "roll")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.out, "stellar-worker-1 …")
	require.Regexp(t, `roll ended after 0 of 2 nodes: .*stellar-worker-1 .*no licence`, r.err)
	text := stellar(t, env, "status").out
	require.Regexp(t, `stellar-worker-1 crashed \d+ times, the last \d+s ago: .*no licence`, text)
	require.Contains(t, text, "roll ended after 0 of 2 nodes")
	require.Contains(t, text, "1 of 2 nodes ready")
}

func TestStatusForScriptsHasTheLastStack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		set := supervisortest.StartWith(t, echoApp(), supervisor.Config{Workers: 2, Redis: at.cfg, Backoff: time.Millisecond})
		set.Node("stellar-worker-2").Crash("the drill")
		var s shown
		require.Eventually(t, func() bool {
			s, _ = statusFor(t, at.env)
			return len(s.Sets) == 1 && s.Sets[0].Crashes == 1 && s.Sets[0].Ready == 2 && len(s.Nodes) == 2 && s.Nodes[1].Crashes != nil
		}, patient, 20*time.Millisecond)
		require.Nil(t, s.Nodes[0].Crashes)
		c := s.Nodes[1].Crashes
		require.Equal(t, 1, c.Count)
		require.Contains(t, c.Reason, "crash on request: the drill")
		require.Contains(t, c.Stack, "worker.(*Node).loop")
	})
}

func TestASetWithABusyNodeIsOperated(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		app := echoApp()
		rpcregistry.Handle(app, "hold", func(ctx context.Context, _ struct{}) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: at.cfg})
		rpc, first := set.Node("stellar-worker-2").API().RPC, rpcregistry.Node("stellar-worker-1")
		wait := time.Duration(0)
		require.Eventually(t, func() bool {
			for range 100 {
				require.NoError(t, rpc.Cast(t.Context(), "hold", nil, first))
			}
			wait += 20 * time.Millisecond // a slow machine needs longer for the answer
			short, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			_, err := rpc.DoCluster(short, "hold", nil, first)
			return errors.Is(err, rpcregistry.ErrBusy)
		}, patient, time.Millisecond)

		r := stellar(t, at.env, "quiet")
		require.Zero(t, r.code, r.err)
		require.True(t, set.Status().Quiet)
		r = stellar(t, at.env, "scale", "3")
		require.Zero(t, r.code, r.err)
		r = stellar(t, at.env, "call", "api.ping")
		require.Zero(t, r.code, r.err)
		s, _ := statusFor(t, at.env)
		require.Len(t, s.Sets, 1)
	})
}

func TestAnIDThatIsTakenIsBadConfiguration(t *testing.T) {
	require.Equal(t, exitConfig, exitCode(loggedError{fmt.Errorf("join as main: %w", membership.ErrIDTaken)}))
}
