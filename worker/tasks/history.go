package tasks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stellarfw/stellar/worker/internal/history"
)

// How long the history of runs is kept: see [Inspector.History].
const (
	HistoryMinutes  = history.Fine   // for each minute
	HistoryQuarters = history.Coarse // for each quarter of an hour
)

// HistoryOther is the queue and the name of the runs that the history does not tell apart, because
// they have more than 200 different ones.
const HistoryOther = history.Other

// HistoryBounds returns the upper bounds of the buckets of [Times], which have one bucket more.
func HistoryBounds() []time.Duration { return slices.Clone(history.Bounds) }

// HistoryFilter selects what [Inspector.History] returns. The zero value selects all.
type HistoryFilter struct {
	Queue string `json:"queue,omitempty"`
	Name  string `json:"name,omitempty"`
	// Step joins the points of that time into one. Default: a minute, or a quarter of an hour.
	Step time.Duration `json:"step,omitempty"`
	// Together joins all queues and names into one.
	Together bool `json:"together,omitempty"`
}

// HistoryPoint is what happened to the runs of the tasks of a queue and name in a time.
type HistoryPoint struct {
	At     time.Time         `json:"at"`       // when it begins, on Redis's clock
	Length int64             `json:"lengthMs"` // in milliseconds
	Queue  string            `json:"queue,omitempty"`
	Name   string            `json:"name,omitempty"`
	Runs   map[Outcome]int64 `json:"runs"` // that ended, by outcome
	Wait   Times             `json:"wait"` // of first runs: from when the task was due until its handler started
	Run    Times             `json:"run"`  // of all runs
}

// Ended returns how many runs ended, and how many of them without success: they failed in whatever way, and were
// neither put off nor cancelled.
func (p HistoryPoint) Ended() (all, failed int64) {
	for outcome, n := range p.Runs {
		all += n
		switch outcome {
		case RunFailed, RunPanicked, RunTimeout, RunDeadline, RunDiscarded, RunRefused, RunFenced, RunAbandoned:
			failed += n
		case RunDone, RunSnoozed, RunThrottled, RunCancelled, RunReturned:
		}
	}
	return all, failed
}

// Times is a histogram of times.
type Times struct {
	Count   int64   `json:"count"`
	Sum     int64   `json:"sumMs"`             // in milliseconds
	Buckets []int64 `json:"buckets,omitempty"` // those up to the last that is not empty: see [HistoryBounds]
}

// Mean returns the mean, 0 for no times.
func (t Times) Mean() time.Duration {
	if t.Count == 0 {
		return 0
	}
	return time.Duration(float64(t.Sum) / float64(t.Count) * float64(time.Millisecond))
}

// Quantile returns about how long the shortest share of the times are at most, such as 0.95 of them: the
// bucket's bounds are interpolated, and what is longer than all bounds counts as the last bound.
func (t Times) Quantile(share float64) time.Duration {
	left := share * float64(t.Count)
	var below time.Duration
	for i, n := range t.Buckets {
		if i == len(history.Bounds) {
			break
		}
		if n > 0 && left <= float64(n) {
			return below + time.Duration(max(left, 0)/float64(n)*float64(history.Bounds[i]-below))
		}
		left -= float64(n)
		below = history.Bounds[i]
	}
	if t.Count == 0 {
		return 0
	}
	return below
}

// Plus returns the histogram of the times of both.
func (t Times) Plus(other Times) Times {
	sum := Times{Count: t.Count + other.Count, Sum: t.Sum + other.Sum, Buckets: make([]int64, max(len(t.Buckets), len(other.Buckets)))}
	copy(sum.Buckets, t.Buckets)
	for i, n := range other.Buckets {
		sum.Buckets[i] += n
	}
	return sum
}

func timesOf(h history.Histogram, sum time.Duration) Times {
	t := Times{Sum: sum.Milliseconds()}
	last := 0
	for i, n := range h {
		t.Count += n
		if n > 0 {
			last = i + 1
		}
	}
	t.Buckets = slices.Clone(h[:last])
	return t
}

// History returns how many runs ended, how, and how long they waited and ran, by queue and name: for
// each minute if from is within the last [HistoryMinutes], else for each quarter of an hour of the last
// [HistoryQuarters]. It is sorted by time, queue and name; where nothing ran there is no point. Nodes add
// what they did once a minute: the last minute is not complete, and a process that crashes loses at most a
// minute. The counts of [Totals] lose nothing. The zero to is now.
func (i *Inspector) History(ctx context.Context, from, to time.Time, f HistoryFilter) ([]HistoryPoint, error) {
	if f.Step < 0 || f.Step > HistoryQuarters {
		return nil, fmt.Errorf("%w: step %s: use at most %s", ErrInvalid, f.Step, HistoryQuarters)
	}
	stored, err := history.Store{Client: i.redis, Keys: i.keys}.Read(ctx, from, to, f.Queue, f.Name)
	if err != nil {
		return nil, err
	}
	type place struct {
		at          int64
		queue, name string
	}
	sums, order := map[place]*history.Point{}, []place(nil)
	for _, p := range stored {
		p.Length = max(f.Step.Truncate(p.Length), p.Length)
		p.At = p.At.Truncate(p.Length)
		if f.Together {
			p.Queue, p.Name = "", ""
		}
		at := place{p.At.Unix(), p.Queue, p.Name}
		if sums[at] == nil {
			sums[at] = &p
			order = append(order, at)
			continue
		}
		sums[at].Join(p.Sum)
	}
	slices.SortFunc(order, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.queue, b.queue), cmp.Compare(a.name, b.name))
	})
	points := make([]HistoryPoint, len(order))
	for n, at := range order {
		p := sums[at]
		points[n] = HistoryPoint{
			At: p.At, Length: p.Length.Milliseconds(), Queue: p.Queue, Name: p.Name, Runs: map[Outcome]int64{},
			Wait: timesOf(p.Wait, p.WaitTime), Run: timesOf(p.Run, p.RunTime),
		}
		for outcome, count := range p.Outcomes {
			points[n].Runs[Outcome(outcome)] = count
		}
	}
	return points, nil
}
