package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"testing"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
)

// outageTimes are how long the largest set takes, in seconds.
type outageTimes struct{ Start, Back, Stop float64 }

// BenchmarkMostNodes is the largest set, in a process of its own: how long it takes to run,
// to be back after an outage in which every node loses its lease, and to stop.
func BenchmarkMostNodes(b *testing.B) {
	var trials []trial
	for _, kind := range []string{"real", "embedded"} {
		of := func(what string) string { return counted(supervisor.MaxWorkers, "node") + ", " + kind + ": " + what }
		trials = append(trials, trial{
			name: kind, slow: true,
			rows: []row{
				{work: of("until all run"), unit: "s", lower: true, goal: goal{at: 15}},
				{work: of("until all are back"), unit: "s", lower: true, goal: goal{at: 15}},
				{work: of("until all have stopped"), unit: "s", lower: true},
			},
			sides: []side{{name: stellar, run: func(b *scope) []float64 {
				j := job{Nodes: supervisor.MaxWorkers, Outage: 14 * time.Second}
				if kind == "real" {
					server := redistest.Start(b, "--maxclients", "20000")
					j.URL, j.PID = server.Config().URL, server.PID()
				}
				times := outageTimes{none, none, none}
				startChild(b, j).results(b, &times)
				return []float64{times.Start, times.Back, times.Stop}
			}}},
		})
	}
	run(b, "The largest set, and an outage of 14 s", trials...)
}

// childOutage runs one set, takes its Redis away for a while and prints its times.
func childOutage(j job) error {
	cfg := link.Config{URL: j.URL}
	away := func() error { return syscall.Kill(j.PID, syscall.SIGSTOP) }
	back := func() error { return syscall.Kill(j.PID, syscall.SIGCONT) }
	if j.PID == 0 {
		server := embedded.New()
		cfg = server.Config()
		away = func() error { server.Break("LOADING Redis is loading the dataset in memory"); return nil }
		back = func() error { server.Break(""); return nil }
	}
	set, err := supervisor.New(supervisor.Config{Workers: j.Nodes, Redis: cfg}, nil, zerolog.Nop())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	ready := func(began time.Time) (float64, error) {
		patient, cancel := context.WithTimeout(ctx, 3*patience)
		defer cancel()
		err := set.AwaitReady(patient)
		return time.Since(began).Seconds(), err
	}
	var times outageTimes
	began := time.Now()
	go func() { done <- set.Serve(ctx) }()
	if times.Start, err = ready(began); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // the announcements
	if err := away(); err != nil {
		return err
	}
	time.Sleep(j.Outage)
	if err := back(); err != nil {
		return err
	}
	if times.Back, err = ready(time.Now()); err != nil {
		return err
	}
	ending := time.Now()
	stop()
	if err := <-done; err != nil {
		return err
	}
	times.Stop = time.Since(ending).Seconds()
	if r := set.Report(); r.Crashes > 0 {
		return fmt.Errorf("%d crashes", r.Crashes)
	}
	return json.NewEncoder(os.Stdout).Encode(times)
}
