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

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
)

// Variables of the measured process.
const (
	nodesURL  = "STELLAR_BENCH_NODES_URL"
	nodesMany = "STELLAR_BENCH_NODES"
)

// nodesIdle is for how long an idle set is watched.
const nodesIdle = 20 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(nodesURL) == "" {
		os.Exit(m.Run())
	}
	if err := nodesMeasure(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// BenchmarkNodes measures sets of 1, 100 and 1,000 nodes, each in a process of
// its own beside a real Redis: how long they take to run and to stop, what they
// cost at rest. Run it with -benchtime=1x.
func BenchmarkNodes(b *testing.B) {
	for b.Loop() {
		out := &strings.Builder{}
		fmt.Fprintf(out, "\n%6s %10s %12s %12s %12s %12s %10s %10s\n",
			"nodes", "start", "rss at once", "rss at rest", "heap/node", "commands/s", "cpu", "stop")
		for _, n := range nodesCounts() {
			server := redistest.Start(b)
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), nodesURL+"="+server.Config().URL, nodesMany+"="+strconv.Itoa(n))
			row, err := cmd.CombinedOutput()
			if err != nil {
				b.Fatalf("%d nodes: %s: %s", n, err, row)
			}
			out.Write(row)
			server.Kill()
		}
		fmt.Print(out)
	}
}

func nodesCounts() []int {
	if n, err := strconv.Atoi(os.Getenv(nodesMany)); err == nil {
		return []int{n}
	}
	return []int{1, 100, 1000}
}

// nodesMeasure runs one set and prints its row.
func nodesMeasure() error {
	n, err := strconv.Atoi(os.Getenv(nodesMany))
	if err != nil {
		return err
	}
	cfg := link.Config{URL: os.Getenv(nodesURL)}
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
	ending := time.Now()
	stop()
	if err := <-done; err != nil {
		return err
	}
	per := func(bytes int64) string { return fmt.Sprintf("%d KiB", (bytes-before)/int64(n)>>10) }
	fmt.Printf("%6d %9.2fs %12s %12s %8d KiB %12.1f %9.2f%% %9.2fs\n", n, start.Seconds(), per(atOnce), per(rest),
		int64(m.HeapInuse)/int64(n)>>10, float64(c1-c0)/took, 100*(cpu1-cpu0).Seconds()/took, time.Since(ending).Seconds())
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
