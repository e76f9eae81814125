package taskscmd

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
	"github.com/stellarfw/stellar/worker/tasks"
)

// historyFlags implements the command tasks history.
type historyFlags struct {
	queue, since, until string
}

func historyCommand(e *cluster.Env) *urfave.Command {
	f := &historyFlags{}
	return &urfave.Command{
		Name: "history", Usage: "show how many runs ended in the last hours, how, and how long they took", ArgsUsage: "[NAME]",
		Description: "Without NAME each task name and queue is a line, with its runs over the time as a chart. With NAME\n" +
			"it shows the charts of that name, the latest on the right, and a line for each part of the time.\n" +
			"Minutes are kept for 8 hours, quarters of an hour for 72. The last minute is not complete.",
		Flags: e.ClientFlags(
			&urfave.StringFlag{Name: queueWord, Destination: &f.queue, Usage: "only tasks of that `QUEUE`"},
			&urfave.StringFlag{Name: "since", Destination: &f.since, Usage: "from that `TIME` on", DefaultText: "1h"},
			&urfave.StringFlag{Name: "until", Destination: &f.until, Usage: "until that `TIME`", DefaultText: "now"},
		),
		ArgValidator: config.Arguments(0, 1, "NAME"), Action: e.Action(f.run),
	}
}

// Charts have about chartCells columns of at least a minute each, tables with them fewer.
const (
	chartCells = 48
	tableCells = 20
	tableRows  = 12
)

func (f *historyFlags) run(ctx context.Context, e *cluster.Env, args []string) error {
	since, err := config.ParseInstant("since", cmp.Or(f.since, "1h"), true)
	if err != nil {
		return err
	}
	until, err := config.ParseInstant("until", f.until, true)
	if err != nil {
		return err
	}
	return withTasks(ctx, e, func(c *cluster.Client, i *tasks.Inspector) error {
		now, err := c.Time(ctx)
		if err != nil {
			return err
		}
		from, to := since.On(now), until.On(now)
		if to.IsZero() || to.After(now) {
			to = now
		}
		if oldest := now.Add(-tasks.HistoryQuarters); from.Before(oldest) {
			from = oldest
		}
		if !from.Before(to) {
			return config.Usagef("--until: that is not after --since")
		}
		filter := tasks.HistoryFilter{Queue: f.queue}
		cells := tableCells
		if len(args) > 0 {
			filter.Name, cells = args[0], chartCells
		}
		if e.JSON() {
			points, err := i.History(ctx, from, to, filter)
			if err != nil {
				return err
			}
			return e.WriteJSON(points)
		}
		s := spanOf(from, to, now, cells)
		filter.Step = s.step
		points, err := i.History(ctx, s.from, to, filter)
		switch {
		case err != nil:
			return err
		case len(points) == 0:
			return e.WriteLine("no runs in this time")
		case len(args) == 0:
			return writeNames(e, points, s)
		}
		return writeName(e, points, s)
	})
}

// span is a time in steps.
type span struct {
	from  time.Time // of the first step
	step  time.Duration
	steps int
}

// spanOf divides a time into at most so many steps.
func spanOf(from, to, now time.Time, most int) span {
	least := time.Minute
	if from.Before(now.Add(-tasks.HistoryMinutes)) {
		least = 15 * time.Minute
	}
	step := least
	for _, minutes := range []int{1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360} {
		step = max(least, time.Duration(minutes)*time.Minute)
		if to.Sub(from)/step < time.Duration(most) {
			break
		}
	}
	s := span{from: from.Truncate(step), step: step}
	s.steps = int((to.Sub(s.from) + step - 1) / step)
	return s
}

// at returns the number of the step of a time, -1 for one outside.
func (s span) at(t time.Time) int {
	n := int(t.Sub(s.from) / s.step)
	if t.Before(s.from) || n >= s.steps {
		return -1
	}
	return n
}

// writeNames writes a line for each queue and name, those with most runs first.
func writeNames(e *cluster.Env, points []tasks.HistoryPoint, s span) error {
	type sum struct {
		queue, name string
		all, failed int64
		runs        []float64
		wait, run   tasks.Times
	}
	byName := map[[2]string]*sum{}
	for _, p := range points {
		key := [2]string{p.Queue, p.Name}
		if byName[key] == nil {
			byName[key] = &sum{queue: p.Queue, name: p.Name, runs: make([]float64, s.steps)}
		}
		of := byName[key]
		all, failed := p.Ended()
		of.all, of.failed = of.all+all, of.failed+failed
		of.wait, of.run = of.wait.Plus(p.Wait), of.run.Plus(p.Run)
		if n := s.at(p.At); n >= 0 {
			of.runs[n] += float64(all)
		}
	}
	sums := make([]*sum, 0, len(byName))
	for _, of := range byName {
		sums = append(sums, of)
	}
	slices.SortFunc(sums, func(a, b *sum) int {
		return cmp.Or(cmp.Compare(b.all, a.all), cmp.Compare(a.name, b.name), cmp.Compare(a.queue, b.queue))
	})
	rows := [][]string{{
		nameColumn, queueColumn, "RUNS", "FAILED", "WAIT P95", "RUN P50", "RUN P95", "RUNS, EACH " + strings.ToUpper(step(s.step)),
	}}
	for _, of := range sums {
		rows = append(rows, []string{
			of.name, of.queue, strconv.FormatInt(of.all, 10), percent(of.failed, of.all), about(of.wait.Quantile(0.95), of.wait.Count),
			about(of.run.Quantile(0.5), of.run.Count), about(of.run.Quantile(0.95), of.run.Count), terminal.Sparkline(of.runs),
		})
	}
	return e.WriteTable(rows)
}

// writeName writes the charts of one name, and a table of its parts.
func writeName(e *cluster.Env, points []tasks.HistoryPoint, s span) error {
	joined := make([]tasks.HistoryPoint, s.steps)
	for _, p := range points {
		n := s.at(p.At)
		if n < 0 {
			continue
		}
		j := &joined[n]
		if j.Runs == nil {
			j.Runs = map[tasks.Outcome]int64{}
		}
		for outcome, count := range p.Runs {
			j.Runs[outcome] += count
		}
		j.Wait, j.Run = j.Wait.Plus(p.Wait), j.Run.Plus(p.Run)
	}
	var runs, failed, wait, run []float64
	for _, j := range joined {
		all, bad := j.Ended()
		runs, failed = append(runs, float64(all)), append(failed, float64(bad))
		wait, run = append(wait, log(j.Wait)), append(run, log(j.Run))
	}
	err := e.WriteLine(
		fmt.Sprintf("%s to %s, each column %s; times are on a logarithmic scale", clock(s.from),
			clock(s.from.Add(time.Duration(s.steps)*s.step)), step(s.step)), "",
		"runs      "+terminal.Sparkline(runs)+"  at most "+fmt.Sprint(slices.Max(runs)),
		"failed    "+terminal.Sparkline(failed)+"  at most "+fmt.Sprint(slices.Max(failed)),
		"wait p95  "+terminal.Sparkline(wait)+"  at most "+highest(joined, func(p tasks.HistoryPoint) tasks.Times { return p.Wait }),
		"run p95   "+terminal.Sparkline(run)+"  at most "+highest(joined, func(p tasks.HistoryPoint) tasks.Times { return p.Run }), "",
	)
	if err != nil {
		return err
	}
	return e.WriteTable(partRows(joined, s))
}

// partRows returns the table of the latest parts in which something ran, joined to at most tableRows.
func partRows(joined []tasks.HistoryPoint, s span) [][]string {
	rows := [][]string{{"FROM", "RUNS", "FAILED", "WAIT P50", "WAIT P95", "RUN P50", "RUN P95", "OUTCOMES"}}
	each := (len(joined) + tableRows - 1) / tableRows
	for n := 0; n < len(joined); n += each {
		var wait, run tasks.Times
		var all, failed int64
		outcomes := map[tasks.Outcome]int64{}
		for _, j := range joined[n:min(n+each, len(joined))] {
			a, f := j.Ended()
			all, failed, wait, run = all+a, failed+f, wait.Plus(j.Wait), run.Plus(j.Run)
			for outcome, count := range j.Runs {
				outcomes[outcome] += count
			}
		}
		if all > 0 {
			rows = append(rows, []string{
				clock(s.from.Add(time.Duration(n) * s.step)), strconv.FormatInt(all, 10), percent(failed, all),
				about(wait.Quantile(0.5), wait.Count), about(wait.Quantile(0.95), wait.Count),
				about(run.Quantile(0.5), run.Count), about(run.Quantile(0.95), run.Count), outcomeWords(outcomes),
			})
		}
	}
	return rows
}

// outcomeWords lists outcomes, the most frequent first.
func outcomeWords(outcomes map[tasks.Outcome]int64) string {
	var names []tasks.Outcome
	for name := range outcomes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b tasks.Outcome) int {
		return cmp.Or(cmp.Compare(outcomes[b], outcomes[a]), cmp.Compare(a, b))
	})
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = fmt.Sprintf("%d %s", outcomes[name], name)
	}
	return strings.Join(words, ", ")
}

// log returns the height of a column of times, whose scale begins at half a millisecond.
func log(t tasks.Times) float64 {
	if t.Count == 0 {
		return 0
	}
	return max(math.Log(float64(t.Quantile(0.95))/float64(500*time.Microsecond)), 0.1)
}

func highest(all []tasks.HistoryPoint, of func(tasks.HistoryPoint) tasks.Times) string {
	var most time.Duration
	var count int64
	for _, p := range all {
		most, count = max(most, of(p).Quantile(0.95)), count+of(p).Count
	}
	return about(most, count)
}

func percent(part, all int64) string {
	if part == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%.1f%%)", part, 100*float64(part)/float64(all))
}

// about returns a time with two digits, "-" for one of nothing.
func about(d time.Duration, count int64) string {
	if count == 0 {
		return "-"
	}
	unit := time.Microsecond
	for d >= 100*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}

// step returns the length of a step, as 5m or 1h.
func step(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "h0m") + map[bool]string{true: "h"}[d%time.Hour == 0]
}

// clock returns a time as people here write it, to the minute.
func clock(at time.Time) string { return at.Local().Format("2006-01-02 15:04") }
