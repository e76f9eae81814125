package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// Sides with a part of their own in a table; every other side is a peer.
const (
	stellar = "stellar"
	bare    = "floor" // the least that the same work can cost on this machine
)

// none is the figure of a side that did not measure a row.
var none = math.NaN()

// row is one line of a table: a figure of the project beside those of its peers.
type row struct {
	work  string
	unit  string // "/s", "µs", …
	lower bool   // the lower figure is the better one
	goal  goal
}

// goal is the bound that a row's figure has to reach, as a multiple of another side's or,
// without than, as it is.
type goal struct {
	at   float64
	than string // bare, best, or the name of a side
}

// best stands for the peer with the best median.
const best = "peer"

// table collects the figures of a group of trials.
type table struct {
	title string
	lines []*line

	mu    sync.Mutex
	notes []string
}

// line is a row with the figures of each round, by side.
type line struct {
	row
	sides  []string // in the order of their first figures
	rounds map[string][]float64
}

func (t *table) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.notes, text) {
		t.notes = append(t.notes, text)
	}
}

// add adds the figures of one run of a side, one for each row.
func (t *table) add(rows []row, side string, figures []float64) {
	for i, r := range rows {
		at := slices.IndexFunc(t.lines, func(l *line) bool { return l.work == r.work })
		if at < 0 {
			at = len(t.lines)
			t.lines = append(t.lines, &line{row: r, rounds: map[string][]float64{}})
		}
		l := t.lines[at]
		if !math.IsNaN(figures[i]) && l.rounds[side] == nil {
			l.sides = append(l.sides, side)
		}
		l.rounds[side] = append(l.rounds[side], figures[i])
	}
}

// median of the rounds that have a figure; none if there is no such round.
func median(all []float64) float64 {
	all = slices.DeleteFunc(slices.Clone(all), math.IsNaN)
	if len(all) == 0 {
		return none
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// spread is the distance between the least and the greatest of the rounds, as a part of
// their median.
func spread(all []float64) float64 {
	all = slices.DeleteFunc(slices.Clone(all), math.IsNaN)
	if len(all) == 0 || median(all) == 0 {
		return none
	}
	return (slices.Max(all) - slices.Min(all)) / math.Abs(median(all))
}

// ratios are the project's figures as multiples of another side's, round by round: the
// machine's mood is the same for both.
func (l *line) ratios(than string) []float64 {
	ours, other := l.rounds[stellar], l.rounds[than]
	all := make([]float64, min(len(ours), len(other)))
	for i := range all {
		all[i] = ours[i] / other[i]
		if other[i] == 0 {
			all[i] = none
		}
	}
	return all
}

// peers are the names of the other sides, the best first; the floor is none of them.
func (l *line) peers() []string {
	all := slices.DeleteFunc(slices.Clone(l.sides), func(s string) bool { return s == stellar || s == bare })
	slices.SortStableFunc(all, func(a, b string) int {
		if l.lower {
			a, b = b, a
		}
		return cmp.Compare(median(l.rounds[b]), median(l.rounds[a]))
	})
	return all
}

// verdict says whether the row reached its goal or, without a goal, whether the project is
// ahead of the best peer. It is "undecided" where the rounds lie further apart than their
// median lies from what decides.
func (l *line) verdict() (all []float64, text string) {
	g, yes, no := l.goal, "reached", "missed"
	peers := l.peers()
	if g.at == 0 {
		if len(peers) == 0 {
			return l.rounds[stellar], ""
		}
		g, yes, no = goal{1, peers[0]}, "ahead", "behind"
	} else if g.than == best {
		if len(peers) == 0 {
			return l.rounds[stellar], "no peer"
		}
		g.than = peers[0]
	}
	all = l.rounds[stellar]
	if g.than != "" {
		all = l.ratios(g.than)
	}
	m := median(all)
	switch margin := math.Abs(1 - g.at/m); {
	case math.IsNaN(m):
		return all, "not measured"
	case len(all) < 3 || spread(all) > margin:
		return all, "undecided"
	case (m > g.at) != l.lower:
		return all, yes
	default:
		return all, no
	}
}

func (l *line) aim() string {
	if l.goal.at == 0 {
		return ""
	}
	sign := "≥ "
	if l.lower {
		sign = "≤ "
	}
	if l.goal.than == "" {
		return sign + figure(l.goal.at, l.unit)
	}
	return fmt.Sprintf("%s%g × %s", sign, l.goal.at, l.goal.than)
}

// cells are the lines of the table that belong to the row: one, and one more for each
// peer that is not the best.
func (l *line) cells() [][]string {
	better := "higher"
	if l.lower {
		better = "lower"
	}
	all, verdict := l.verdict()
	first := []string{
		l.work, better, figure(median(l.rounds[stellar]), l.unit), "", "", "", "", "", percent(spread(all)), l.aim(), verdict,
	}
	if l.rounds[bare] != nil {
		first[6], first[7] = figure(median(l.rounds[bare]), l.unit), ratio(median(l.ratios(bare)))
	}
	out := [][]string{first}
	for i, p := range l.peers() {
		if i > 0 {
			out = append(out, make([]string, len(first)))
		}
		out[i][3], out[i][4], out[i][5] = figure(median(l.rounds[p]), l.unit), p, ratio(median(l.ratios(p)))
	}
	return out
}

// String is the table in Markdown. The figures are medians of the rounds, the ratios
// medians of the rounds' ratios, ours to the other. The spread is that of the figure or
// ratio that decides the row.
func (t *table) String() string {
	cells := [][]string{{"work", "better", "ours", "theirs", "peer", "ratio", "floor", "of floor", "spread", "to reach", "verdict"}}
	for _, l := range t.lines {
		cells = append(cells, l.cells()...)
	}
	widths := make([]int, len(cells[0]))
	for _, c := range cells {
		for i, text := range c {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	rule := make([]string, len(widths))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "## %s\n\n", t.title)
	for _, c := range slices.Insert(cells, 1, rule) {
		for i, text := range c {
			fmt.Fprintf(&out, "| %-*s ", widths[i], text)
		}
		out.WriteString("|\n")
	}
	for _, n := range t.notes {
		fmt.Fprintf(&out, "- %s\n", n)
	}
	return out.String()
}

// figure writes three digits or the whole number.
func figure(v float64, unit string) string {
	digits := 0
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a < 10:
		digits = 2
	case a < 100:
		digits = 1
	}
	text := fmt.Sprintf("%.*f", digits, v)
	if digits == 0 {
		text = grouped(text)
	}
	if unit == "/s" || unit == "" {
		return text + unit
	}
	return text + " " + unit
}

// grouped puts commas into a whole number.
func grouped(text string) string {
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func ratio(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

func percent(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name         string
		row          row
		ours, theirs []float64
		want         string
	}{
		{"above", row{goal: goal{1.2, best}}, []float64{13, 15, 13}, []float64{10, 10, 10}, "undecided"},
		{"far above", row{goal: goal{1.2, best}}, []float64{20, 21, 20}, []float64{10, 10, 10}, "reached"},
		{"below", row{goal: goal{1.2, best}}, []float64{5, 5, 5}, []float64{10, 10, 10}, "missed"},
		{"both moods of the machine", row{goal: goal{1.2, best}}, []float64{20, 40, 20}, []float64{10, 20, 10}, "reached"},
		{"noisy, but far below", row{goal: goal{1.2, best}}, []float64{4, 5, 6}, []float64{10, 10, 10}, "missed"},
		{"lower is better", row{lower: true, goal: goal{0.8, best}}, []float64{5, 5, 5}, []float64{10, 10, 10}, "reached"},
		{"absolute", row{lower: true, goal: goal{at: 30}}, []float64{300, 310, 300}, []float64{10, 10, 10}, "missed"},
		{"no goal", row{}, []float64{20, 20, 20}, []float64{10, 10, 10}, "ahead"},
		{"no goal, lower is better", row{lower: true}, []float64{20, 20, 20}, []float64{10, 10, 10}, "behind"},
		{"two rounds", row{}, []float64{20, 20}, []float64{10, 10}, "undecided"},
		{"no peer", row{goal: goal{1.2, best}}, []float64{20, 20, 20}, nil, "no peer"},
		{"no figure", row{goal: goal{1.2, best}}, []float64{none, none, none}, []float64{10, 10, 10}, "not measured"},
	} {
		var table table
		for i := range c.ours { // as the sides alternate
			table.add([]row{c.row}, stellar, c.ours[i:i+1])
			if c.theirs != nil {
				table.add([]row{c.row, {work: "between"}}, "other", []float64{c.theirs[i], 1})
			}
		}
		if _, got := table.lines[0].verdict(); got != c.want {
			t.Errorf("%s: %s instead of %s:\n%s", c.name, got, c.want, &table)
		}
	}
}
