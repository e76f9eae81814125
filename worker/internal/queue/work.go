package queue

import (
	"context"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// afterOther is how many requests go to the scripts for all tasks after lua/work.lua has
// found something that it leaves to them.
const afterOther = 10

// tendedFor is for how long Redis relies on a node that tends its queues. It is longer than
// the pause between two of its claims, so that a moment's delay wakes nobody.
const tendedFor = 4 * time.Millisecond

// plain reports whether it is worth a try to claim with lua/work.lua.
func (s *Session) plain() bool {
	if s.others > 0 {
		s.others--
		return false
	}
	return !s.eager && s.list == "" && len(s.cfg.Weights) == 0 && len(s.parked) == 0 && s.claims > 0 && s.lost == 0
}

// Works reports whether a commit of these runs may claim other tasks in the same request
// (see [Session.Work]).
func (s *Session) Works(runs []*Run) bool {
	for _, r := range runs {
		if r.weight() > 0 || r.Record.Options.Unique != "" {
			return false
		}
	}
	return len(runs) <= MaxBatch && s.plain()
}

// Worked is the result of [Session.Work].
type Worked struct {
	Refused map[string]string // see Session.Commit
	Ends    []End             // see Session.Commit
	Claimed bool              // false: nothing was claimed, as a claim alone would say why
	Got     []Claimed
	Broken  []string // see Session.Claim
}

// Work is a [Session.Commit] of runs of which [Session.Works] is true, and, if possible in
// the same request, a [Session.Claim].
func (s *Session) Work(ctx context.Context, runs []*Run, a Ask) (w Worked, err error) {
	sortRuns(runs)
	speeds := speeds(runs)
	w.Got, w.Broken, err = s.work(ctx, s.commits+1, s.claims+1, a, speeds, runs)
	if err == nil {
		s.commits++
		s.claims++
		w.Claimed = true
		return w, nil
	}
	if !isOther(err) {
		s.lost = a.Want
	}
	w.Refused, w.Ends, err = s.commit(ctx, runs, speeds) // under the same number
	return w, err
}

// work sends lua/work.lua once, with the number of the claim. commit is a number, or empty without a
// commit.
func (s *Session) work(ctx context.Context, commit any, number uint64, a Ask, speeds []any, runs []*Run) (
	got []Claimed, broken []string, err error,
) {
	var tending any = ""
	if a.Tend {
		tending = tendedFor.Milliseconds()
	}
	args := make([]any, 0, 16+len(s.cfg.Queues)+3*len(runs))
	args = append(args, s.cfg.Incarnation, commit, number, a.Want, flagOf(s.idle || s.tends), tending, len(s.cfg.Queues))
	args = append(append(s.withQueues(args...), len(speeds)/speedWords), speeds...)
	args = appendDone(args, runs)
	reply, err := workScript.Call(ctx, s.cfg.Redis, s.cfg.Keys.TaskKeys(), args...)
	if err == nil {
		got, broken, err = s.take(ctx, number, reply)
	}
	switch {
	case isOther(err):
		s.others = afterOther
	case err != nil:
		s.tends = s.tends || a.Tend // the answer is lost
	}
	return got, broken, err
}

// isOther reports whether lua/work.lua did nothing, and left all to the other scripts.
func isOther(err error) bool { return link.WordOf(err) == "OTHER" }
