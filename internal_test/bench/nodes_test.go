package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
)

// nodeCosts are what a set costs in a process of its own; bytes are of each node.
type nodeCosts struct {
	Start, Stop             float64 // s
	RSSAtOnce, RSS, HeapUse float64 // KiB
	Commands                float64 // per second, at rest
	CPU                     float64 // s/min, at rest
}

// BenchmarkNodes measures sets of 1, 100 and 1,000 nodes, each in a process of its own:
// how long they take to run and to stop, and what they cost at rest.
func BenchmarkNodes(b *testing.B) {
	var trials []trial
	for _, n := range []int{1, 100, 1000} {
		of := func(what string) string { return counted(n, "node") + ": " + what }
		rows := []row{
			{work: of("until all run"), unit: "s", lower: true},
			{work: of("until all have stopped"), unit: "s", lower: true},
			{work: of("RSS of each, at once"), unit: "KiB", lower: true},
			{work: of("RSS of each, at rest"), unit: "KiB", lower: true},
			{work: of("heap of each"), unit: "KiB", lower: true},
			{work: of("commands at rest"), unit: "/s", lower: true},
			{work: of("CPU at rest"), unit: "s/min", lower: true},
		}
		if n == 1000 {
			rows[0].goal, rows[3].goal = goal{at: 2}, goal{at: 160}
		}
		trials = append(trials, trial{name: strconv.Itoa(n), slow: true, rows: rows, sides: []side{{name: stellar, run: func(b *scope) []float64 {
			c := costsOf(b, n, 0)
			return []float64{c.Start, c.Stop, c.RSSAtOnce, c.RSS, c.HeapUse, c.Commands, c.CPU}
		}}}})
	}
	run(b, "What nodes cost", trials...)
}

// costsOf is the costs of a set of n nodes that serve so many queues, each used before;
// 0 are those of an app without tasks.
func costsOf(b *scope, n, queues int) nodeCosts {
	b.Helper()
	cfg := redistest.Start(b).Config()
	if queues > 0 {
		useQueues(b, cfg, queues)
	}
	c := startChild(b, job{
		URL: cfg.URL, Nodes: n, Queues: queues, Settle: lasting(10 * time.Second), Lasting: lasting(20 * time.Second),
	})
	costs := nodeCosts{none, none, none, none, none, none, none}
	c.results(b, &costs)
	return costs
}

// childRest runs one set and prints its costs.
func childRest(j job) error {
	cfg := link.Config{URL: j.URL}
	n, before, began := float64(j.Nodes), rss(), time.Now()
	config := supervisor.Config{Workers: j.Nodes, Concurrency: slots, Redis: cfg}
	if j.Queues > 0 {
		config.Queues = queueNames(j.Queues)
	}
	set, err := supervisor.New(config, nil, zerolog.Nop())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	patient, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	if err := set.AwaitReady(patient); err != nil {
		ready, want := set.Ready()
		return fmt.Errorf("%d of %d nodes ran: %w", ready, want, err)
	}
	costs := nodeCosts{Start: time.Since(began).Seconds()}
	time.Sleep(j.Settle / 3) // the announcements
	costs.RSSAtOnce = (rss() - before) / n
	time.Sleep(j.Settle)
	if err := costs.atRest(ctx, cfg, j.Lasting); err != nil {
		return err
	}
	debug.FreeOSMemory()
	costs.RSS = (rss() - before) / n
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	costs.HeapUse = float64(m.HeapInuse) / n / 1024
	if path := os.Getenv("STELLAR_BENCH_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		_ = pprof.Lookup("heap").WriteTo(f, 0)
		_ = f.Close()
	}
	ending := time.Now()
	stop()
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	costs.Stop = time.Since(ending).Seconds()
	return json.NewEncoder(os.Stdout).Encode(costs)
}

// atRest measures for d.
func (n *nodeCosts) atRest(ctx context.Context, cfg link.Config, d time.Duration) error {
	client, err := link.OpenClient(cfg, "bench")
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	commands := func() float64 {
		_, text, _ := strings.Cut(client.Info(ctx, "stats").Val(), "total_commands_processed:")
		text, _, _ = strings.Cut(text, "\r")
		v, _ := strconv.ParseFloat(text, 64)
		return v
	}
	before, cpu, start := commands(), cpuTime(), time.Now()
	time.Sleep(d)
	took := time.Since(start).Seconds()
	n.Commands, n.CPU = (commands()-before)/took, (cpuTime()-cpu).Seconds()*60/took
	return nil
}

// rss is the memory of this process that is in RAM, in KiB.
func rss() float64 {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return float64(pages * os.Getpagesize() / 1024)
}
