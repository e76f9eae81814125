package runner

import (
	"context"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Quiet stops claiming, or resumes it. Tasks that run go on; tasks that were claimed and
// not started go back to their queues.
func (r *Runner) Quiet(on bool) {
	r.quiet.Store(on)
	r.Wake()
	r.broadcast()
}

// whileQuiet waits until the node is not quiet, and returns false when ctx ends first. A
// quiet node resigns, so that Redis wakes other nodes instead.
func (r *Runner) whileQuiet(ctx, work context.Context) bool {
	if !r.quiet.Load() {
		return true
	}
	for r.quiet.Load() {
		r.fetchLost(ctx, work)
		r.giveBack()
		r.resign(work, false)
		r.noteQuiet(ctx, true) // each time: Redis may have lost it
		if !r.idle(ctx) {
			return false
		}
	}
	r.noteQuiet(ctx, false)
	r.mu.Lock()
	r.idling = false // it has resigned
	r.mu.Unlock()
	return true
}

// fetchLost claims the tasks of a claim whose answer was lost, so that they can go back.
func (r *Runner) fetchLost(ctx, work context.Context) {
	r.mu.Lock()
	lost := r.claims == claimFree && r.session.Lost()
	if lost {
		r.takeClaim()
	}
	r.mu.Unlock()
	if !lost {
		return
	}
	if err := r.claimOnce(ctx, work, queue.Ask{Want: 1}); err != nil && ctx.Err() == nil {
		r.log.Debug().Err(err).Msg("a claim whose answer was lost was not repeated")
	}
}

// noteQuiet writes on Redis whether the node is quiet.
func (r *Runner) noteQuiet(ctx context.Context, quiet bool) {
	if err := r.session.Quiet(ctx, quiet); err != nil && ctx.Err() == nil {
		r.log.Debug().Err(err).Msg("not noted whether the node is quiet")
	}
}
