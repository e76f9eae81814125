package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
)

// Variables of the measured process.
const (
	nodesURL  = "STELLAR_BENCH_NODES_URL" // of the real Redis, or nodesInside
	nodesPID  = "STELLAR_BENCH_NODES_PID" // of the real Redis
	nodesMany = "STELLAR_BENCH_NODES"

	nodesInside = "embedded" // in nodesURL: the set has the embedded Redis
)

// nodesIdle is for how long an idle set is watched, nodesOutage how long Redis is away then:
// long enough for every node to lose its lease.
const (
	nodesIdle   = 20 * time.Second
	nodesOutage = 14 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(nodesURL) == "" {
		os.Exit(m.Run())
	}
	if err := nodesMeasure(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// BenchmarkNodes measures sets of 1, 100, 1,000 and 5,000 nodes, each in a process of its own
// beside a real Redis, and with the embedded one: how long they take to run, to be back
// after an outage of 14 s and to stop, and what they cost at rest. Run it with -benchtime=1x.
func BenchmarkNodes(b *testing.B) {
	for b.Loop() {
		out := &strings.Builder{}
		fmt.Fprintf(out, "\n%9s %6s %10s %12s %12s %12s %12s %10s %10s %10s\n",
			"redis", "nodes", "start", "rss at once", "rss at rest", "heap/node", "commands/s", "cpu", "back", "stop")
		for _, n := range nodesCounts() {
			server := redistest.Start(b, "--maxclients", "20000")
			out.WriteString(nodesRow(b, n, nodesURL+"="+server.Config().URL, nodesPID+"="+strconv.Itoa(server.PID())))
			server.Kill()
			out.WriteString(nodesRow(b, n, nodesURL+"="+nodesInside))
		}
		fmt.Print(out)
	}
}

func nodesCounts() []int {
	if n, err := strconv.Atoi(os.Getenv(nodesMany)); err == nil {
		return []int{n}
	}
	return []int{1, 100, 1000, 5000}
}

// nodesRow runs a process that measures a set of n nodes, and returns its row.
func nodesRow(b *testing.B, n int, env ...string) string {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), nodesMany+"="+strconv.Itoa(n)), env...)
	row, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%d nodes: %s: %s", n, err, row)
	}
	return string(row)
}

// nodesRedis returns the Redis of the measured process, and what takes it away and brings it
// back.
func nodesRedis() (cfg link.Config, away func(bool) error) {
	if os.Getenv(nodesURL) == nodesInside {
		server := embedded.New()
		return server.Config(), func(gone bool) error {
			text := ""
			if gone {
				text = "LOADING Redis is loading the dataset in memory"
			}
			server.Break(text)
			return nil
		}
	}
	return link.Config{URL: os.Getenv(nodesURL)}, func(gone bool) error {
		pid, err := strconv.Atoi(os.Getenv(nodesPID))
		if err != nil {
			return err
		}
		if gone {
			return syscall.Kill(pid, syscall.SIGSTOP)
		}
		return syscall.Kill(pid, syscall.SIGCONT)
	}
}

// nodesBack takes Redis away and returns how long the set takes to be back after that.
func nodesBack(ctx context.Context, set *supervisor.Set, away func(bool) error) (time.Duration, error) {
	if err := away(true); err != nil {
		return 0, err
	}
	time.Sleep(nodesOutage)
	if err := away(false); err != nil {
		return 0, err
	}
	began := time.Now()
	err := set.AwaitReady(ctx)
	return time.Since(began), err
}

// nodesMeasure runs one set and prints its row.
func nodesMeasure() error {
	n, err := strconv.Atoi(os.Getenv(nodesMany))
	if err != nil {
		return err
	}
	cfg, away := nodesRedis()
	before := nodesRSS()
	began := time.Now()
	set, err := supervisor.New(supervisor.Config{Workers: n, Redis: cfg}, nil, zerolog.Nop())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	if err := set.AwaitReady(ctx); err != nil {
		return err
	}
	start := time.Since(began)
	time.Sleep(3 * time.Second) // the announcements
	atOnce := nodesRSS()

	client, err := link.OpenClient(cfg, "bench")
	if err != nil {
		return err
	}
	commands := func() int64 {
		info := client.Info(ctx, "stats").Val()
		_, info, _ = strings.Cut(info, "total_commands_processed:")
		info, _, _ = strings.Cut(info, "\r")
		v, _ := strconv.ParseInt(info, 10, 64)
		return v
	}
	time.Sleep(10 * time.Second)
	c0, cpu0, t0 := commands(), nodesCPU(), time.Now()
	time.Sleep(nodesIdle)
	took := time.Since(t0).Seconds()
	c1, cpu1 := commands(), nodesCPU()
	_ = client.Close()
	debug.FreeOSMemory()
	rest := nodesRSS()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if path := os.Getenv("STELLAR_BENCH_PROFILE"); path != "" && n > 1 {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		_ = pprof.Lookup("heap").WriteTo(f, 0)
		_ = f.Close()
		if g, err := os.Create(path + ".goroutines"); err == nil {
			_ = pprof.Lookup("goroutine").WriteTo(g, 1)
			_ = g.Close()
		}
		fmt.Printf("goroutines/node %.1f stack/node %d KiB\n", float64(runtime.NumGoroutine())/float64(n), int(m.StackInuse)/n>>10)
	}
	back, err := nodesBack(ctx, set, away)
	if err != nil {
		return err
	}
	ending := time.Now()
	stop()
	if err := <-done; err != nil {
		return err
	}
	if crashes := set.Report().Crashes; crashes > 0 {
		return fmt.Errorf("%d crashes", crashes)
	}
	kind := "real"
	if os.Getenv(nodesURL) == nodesInside {
		kind = nodesInside
	}
	per := func(bytes int64) string { return fmt.Sprintf("%d KiB", (bytes-before)/int64(n)>>10) }
	fmt.Printf("%9s %6d %9.2fs %12s %12s %8d KiB %12.1f %9.2f%% %9.2fs %9.2fs\n", kind, n, start.Seconds(), per(atOnce), per(rest),
		int64(m.HeapInuse)/int64(n)>>10, float64(c1-c0)/took, 100*(cpu1-cpu0).Seconds()/took, back.Seconds(), time.Since(ending).Seconds())
	return nil
}

// nodesRSS is the memory of this process that is in RAM, in bytes.
func nodesRSS() int64 {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func nodesCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
