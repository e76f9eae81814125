package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// figures are those of one round.
type figures struct {
	p50, p99 time.Duration
	rate     float64 // per second
}

func latencies(took []time.Duration) figures {
	slices.Sort(took)
	return figures{p50: took[len(took)/2], p99: took[len(took)*99/100]}
}

// table collects rounds; the first peer of a row is what the others are compared with.
type table struct {
	rows []*row
}

type row struct {
	work, peer string
	rounds     []figures
}

func (t *table) add(work, peer string, f figures) {
	for _, r := range t.rows {
		if r.work == work && r.peer == peer {
			r.rounds = append(r.rounds, f)
			return
		}
	}
	t.rows = append(t.rows, &row{work, peer, []figures{f}})
}

func (r *row) median() figures {
	middle := func(of func(figures) float64) float64 {
		all := make([]float64, len(r.rounds))
		for i, f := range r.rounds {
			all[i] = of(f)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return figures{
		p50:  time.Duration(middle(func(f figures) float64 { return float64(f.p50) })),
		p99:  time.Duration(middle(func(f figures) float64 { return float64(f.p99) })),
		rate: middle(func(f figures) float64 { return f.rate }),
	}
}

// report prints the medians and what each is in relation to the row's first peer.
func (t *table) report(b *testing.B) {
	b.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "\n%-24s %-12s %10s %10s %12s %7s\n", "work", "peer", "p50 µs", "p99 µs", "calls/s", "ratio")
	var base row
	var median figures
	for _, r := range t.rows {
		m := r.median()
		if r.work != base.work {
			base, median = *r, m
		}
		if m.rate > 0 {
			fmt.Fprintf(&out, "%-24s %-12s %10s %10s %12.0f %7.2f\n", r.work, r.peer, "", "", m.rate, m.rate/median.rate)
		} else {
			fmt.Fprintf(&out, "%-24s %-12s %10.0f %10.0f %12s %7.2f\n", r.work, r.peer,
				float64(m.p50)/1e3, float64(m.p99)/1e3, "", float64(m.p50)/float64(median.p50))
		}
	}
	fmt.Print(out.String()) // b.Log would cut it off after ten lines
}
