// Package bench measures the project beside its peers and beside floors: bare prototypes
// that do no more than the same work needs. All sides of a row are measured in one run, in
// alternating rounds, and the ratios of the rounds are what counts: absolute figures
// change with the machine and its mood.
//
// One row alone: make bench BENCH='Flow/^8_callers_at_8'. Whether it works at all, within
// minutes: make bench ROUNDS=1 SIZE=0.05. A verdict needs at least three rounds.
package bench

import (
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	rounds = flag.Int("rounds", 5, "how often each side of a trial is measured")
	size   = flag.Float64("size", 1, "multiplies how long and how much is measured; below 1 the benchmarks are only tried out")
)

// patience bounds every wait for tasks. A slow machine makes a figure worse; it fails
// nothing.
const patience = time.Minute

// trial is what is measured together. Its name is that of the sub-benchmark.
type trial struct {
	name  string
	rows  []row
	sides []side
	calls int  // in a round, of a trial whose sides take turns with each call
	slow  bool // so that three rounds must do
}

// side is one contestant of a trial, on a Redis of its own.
type side struct {
	name string
	// run measures the side once and returns a figure for each row; none for a row that
	// the side has nothing to say about.
	run func(b *scope) []float64
	// start is instead of run in a trial with calls. It returns what is called. The
	// figures are the p50 and the p99.
	start func(b *scope) func(i int) error
}

// run measures the trials in alternating rounds, in which each side is first in its turn,
// and prints the table.
func run(b *testing.B, title string, trials ...trial) {
	b.Helper()
	t, began := &table{title: title}, time.Now()
	for _, tr := range trials {
		b.Run(strings.ReplaceAll(tr.name, "/", ":"), func(b *testing.B) {
			if tr.calls > 0 {
				inOwn(b, t, tr.name, func(b *scope) { takeTurns(b, tr) })
			} else {
				alternate(b, t, tr)
			}
			b.ReportMetric(0, "ns/op") // it would be the time of all rounds of all sides
		})
	}
	if len(t.lines) > 0 {
		fmt.Printf("\n%s(%d rounds, %s)\n\n", t, *rounds, time.Since(began).Round(time.Second)) // b.Log would cut it off
	}
}

// alternate runs the sides one after the other, each from its start on.
func alternate(b *testing.B, t *table, tr trial) {
	b.Helper()
	most := *rounds
	if tr.slow {
		most = min(most, 3)
	}
	silent := map[string]bool{} // sides without a figure have none in the next round either
	for round := range most {
		for i := range tr.sides {
			s := tr.sides[(i+round)%len(tr.sides)]
			if silent[s.name] {
				continue
			}
			inOwn(b, t, tr.name+", "+s.name, func(b *scope) {
				figures := s.run(b)
				silent[s.name] = !slices.ContainsFunc(figures, func(v float64) bool { return !math.IsNaN(v) })
				t.add(tr.rows, s.name, figures)
			})
		}
	}
}

// takeTurns calls one side after the other: whatever else the machine does hits all of
// them alike. It is for one caller, whose latency hardly exceeds the noise.
func takeTurns(b *scope, tr trial) {
	b.Helper()
	all := make([]func(i int) error, len(tr.sides))
	for i, s := range tr.sides {
		all[i] = s.start(b)
		repeated(b, sized(200), all[i])
	}
	for range *rounds {
		took := make([][]time.Duration, len(tr.sides))
		for i := range tr.calls {
			for s, call := range all {
				took[s] = append(took[s], repeated(b, 1, func(int) error { return call(i) })...)
			}
		}
		for i, s := range tr.sides {
			b.table.add(tr.rows, s.name, quantiles(took[i]))
		}
	}
}

// scope is a benchmark whose cleanups run when the scope ends.
type scope struct {
	*testing.B
	table    *table
	side     string // what is measured, for notes
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// notef prints a line below the table, once.
func (s *scope) notef(format string, args ...any) { s.table.note(fmt.Sprintf(format, args...)) }

// failed notes a call that failed: it does not count, and the others go on.
func (s *scope) failed(err error) bool {
	if err != nil {
		s.notef("%s: a call failed: %s", s.side, err)
	}
	return err != nil
}

// inOwn runs f so that what it started ends with it.
func inOwn(b *testing.B, t *table, side string, f func(b *scope)) {
	b.Helper()
	s := &scope{B: b, table: t, side: side}
	defer func() {
		for _, cleanup := range slices.Backward(s.cleanups) {
			cleanup()
		}
	}()
	f(s)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sized is a number of things that depends on the flag -size.
func sized(n int) int { return max(1, int(float64(n)*(*size))) }

// lasting is a duration that depends on the flag -size.
func lasting(d time.Duration) time.Duration {
	return max(20*time.Millisecond, time.Duration(float64(d)*(*size)))
}

// callersAt names callers that are spread over nodes.
func callersAt(callers, nodes int) string {
	return counted(callers, "caller") + " at " + counted(nodes, "node")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return grouped(strconv.Itoa(n)) + " " + what + "s"
}

// calls is how often per second so many callers call f, each one call after the other,
// after a while of doing the same unmeasured.
func calls(b *scope, callers int, f func(caller int) error) float64 {
	b.Helper()
	callFor(b, callers, lasting(200*time.Millisecond), f)
	n, took := callFor(b, callers, lasting(1500*time.Millisecond), f)
	return float64(n) / took.Seconds()
}

// callFor lets the callers call f for d, and returns how many calls succeeded.
func callFor(b *scope, callers int, d time.Duration, f func(caller int) error) (int64, time.Duration) {
	b.Helper()
	var total atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	start := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for caller := range callers {
		all.Go(func() {
			n := int64(0)
			for !stop.Load() {
				if b.failed(f(caller)) {
					continue
				}
				n++
			}
			total.Add(n)
		})
	}
	all.Wait()
	return total.Load(), time.Since(start)
}

// repeated calls f n times, one call after the other, and returns what the calls took
// that succeeded.
func repeated(b *scope, n int, f func(i int) error) []time.Duration {
	b.Helper()
	took := make([]time.Duration, 0, n)
	for i := range n {
		start := time.Now()
		if !b.failed(f(i)) {
			took = append(took, time.Since(start))
		}
	}
	return took
}

// quantiles are the p50 and the p99 in µs.
func quantiles(took []time.Duration) []float64 {
	if len(took) == 0 {
		return []float64{none, none}
	}
	slices.Sort(took)
	return []float64{micros(took[len(took)/2]), micros(took[len(took)*99/100])}
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// await waits until done reports true, and reports whether it did in time.
func await(b *scope, what string, done func() bool) bool {
	b.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.notef("%s: gave up after %s: %s", b.side, patience, what)
			return false
		}
	}
	return true
}

// briefly is a context for a wait that may take as long as the patience.
func briefly(b *scope) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.Cleanup(cancel)
	return ctx
}
