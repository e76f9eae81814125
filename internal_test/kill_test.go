package internal_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// childURL is the variable that makes the test binary a set on that Redis
// instead of running tests.
const childURL = "STELLAR_TEST_CHILD"

// childTimes make a dead process's leases run out within the test.
var childTimes = membership.Times{Lease: 1500 * time.Millisecond}

// child runs a set of two nodes until it is killed.
func child() {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "add"}, func(ctx context.Context, n int64) error {
		tasks.Tx(ctx).Increment("sum", n)
		return link.Sleep(ctx, 5*time.Millisecond)
	})
	set, err := supervisor.New(supervisor.Config{
		Workers: 2, Concurrency: 4, Redis: link.Config{URL: os.Getenv(childURL)}, Times: childTimes,
	}, app, zerolog.New(os.Stderr).Level(zerolog.WarnLevel))
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		if set.AwaitReady(ctx) == nil {
			fmt.Println("ready")
		}
	}()
	if err := set.Serve(ctx); err != nil {
		panic(err)
	}
}

// process is one such set in a process of its own.
type process struct{ cmd *exec.Cmd }

func startProcess(t *testing.T, url string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childURL+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, redistest.StartWithTest(cmd))
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "the process ended before it was ready")
	require.Equal(t, "ready", lines.Text())
	p := &process{cmd}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) term(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
}

// TestKilledProcessesLoseAndDoubleNothing kills whole processes with SIGKILL
// while they work, again and again, and starts new ones in their place.
func TestKilledProcessesLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := server.Config()
	client := redistest.Client(t, cfg)
	k := cfg.Keys()
	enqueuer := tasks.NewClient(t.Context(), client, k, &tasks.Registry{})
	inspector := tasks.NewInspector(client, k)
	t.Cleanup(enqueuer.Close)
	processes := []*process{startProcess(t, cfg.URL), startProcess(t, cfg.URL), startProcess(t, cfg.URL)}

	const n, kills = 3000, 5
	news := make([]tasks.Request, n)
	want := int64(0)
	for i := range news {
		payload := json.RawMessage(strconv.Itoa(i))
		if i%20 == 0 { // with a key of its own
			payload = append(bytes.Repeat([]byte(" "), 20_000), payload...)
		}
		news[i] = tasks.Request{Name: "add", Payload: payload, Options: tasks.Options{ID: "add:" + strconv.Itoa(i)}}
		want += int64(i)
	}
	_, err := enqueuer.EnqueueMany(t.Context(), news)
	require.NoError(t, err)
	for range kills {
		time.Sleep(150 * time.Millisecond)
		i := rand.IntN(len(processes))
		processes[i].kill()
		processes[i] = startProcess(t, cfg.URL)
	}
	require.Eventually(t, func() bool {
		c, err := inspector.Counts(t.Context())
		return err == nil && c.Done+c.Dead == n
	}, 60*time.Second, 20*time.Millisecond)

	dead := client.ZRange(t.Context(), k.Dead(), 0, -1).Val()
	large := 0
	for _, id := range dead { // what ran in three killed processes is put aside, not lost
		value, err := strconv.ParseInt(strings.TrimPrefix(id, "add:"), 10, 64)
		require.NoError(t, err)
		want -= value
		if value%20 == 0 {
			large++
		}
	}
	require.Len(t, client.Keys(t.Context(), k.Body("*")).Val(), large, "large payloads of tasks that are stored")
	sum, err := cache.Get[int64](t.Context(), cache.New(cache.Config{Client: client, Keys: k}), "sum")
	require.NoError(t, err)
	require.Equal(t, want, sum)
	c, err := inspector.Counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, tasks.Counts{
		Enqueued: n, Done: n - int64(len(dead)), Dead: int64(len(dead)), Quarantined: int64(len(dead)), HandedOn: c.HandedOn,
	}, c)
	require.NotZero(t, c.HandedOn)
	t.Logf("%d processes killed, %d tasks taken over, %d quarantined", kills, c.HandedOn, len(dead))
	require.Eventually(t, func() bool { return client.ZCard(t.Context(), k.Leases()).Val() == 2*int64(len(processes)) },
		20*time.Second, 20*time.Millisecond, "the killed are settled")
	for _, p := range processes {
		p.term(t)
	}
	require.Zero(t, client.Exists(t.Context(), k.Leases(), k.Members()).Val(), "nobody is left")
}
