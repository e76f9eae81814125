package queue

import (
	"context"

	"github.com/stellarfw/stellar/redisbus/link"
)

// afterOther is how many requests go to the scripts for all tasks after lua/work.lua has
// found something that it leaves to them.
const afterOther = 10

// Works reports whether a commit of these runs may claim other tasks in the same request
// (see [Session.Work]).
func (s *Session) Works(runs []*Run) bool {
	if s.others > 0 {
		s.others--
		return false
	}
	if len(runs) > MaxBatch || s.list != "" || len(s.cfg.Weights) > 0 || len(s.parked) > 0 || s.claims == 0 || s.lost > 0 {
		return false
	}
	for _, r := range runs {
		if r.outcome.weight() > 0 || r.Record.Options.Unique != "" {
			return false
		}
	}
	return true
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
// the same request, a [Session.Claim] of up to want tasks.
func (s *Session) Work(ctx context.Context, runs []*Run, want int) (w Worked, err error) {
	sortRuns(runs)
	s.speeds.add(runs)
	speeds := s.speeds.due()
	args := make([]any, 0, 16+len(s.cfg.Queues)+3*len(runs))
	args = append(args, s.cfg.Incarnation, s.commits+1, s.claims+1, want, flagOf(s.idle), len(s.cfg.Queues))
	args = append(append(s.withQueues(args...), len(speeds)/speedWords), speeds...)
	args = appendDone(args, runs)
	var answer claims
	reply, err := workScript.Call(ctx, s.cfg.Redis, []string{s.cfg.Keys.Tasks()}, args...)
	if err == nil {
		err = answer.scan(reply)
	}
	if err == nil {
		w.Got, w.Broken, err = s.take(answer)
	}
	switch {
	case err == nil:
		s.commits++
		s.claims++
		w.Claimed = true
		return w, nil
	case link.WordOf(err) == "OTHER":
		s.others = afterOther
	default:
		s.lost = want
	}
	w.Refused, w.Ends, err = s.commit(ctx, runs, speeds) // under the same number
	return w, err
}
