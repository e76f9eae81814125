package tasks

import (
	"context"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Quiet stops claiming, or resumes it. Tasks in hand go on.
func (r *Runner) Quiet(on bool) {
	r.quiet.Store(on)
	r.Wake()
	r.broadcast()
}

// whileQuiet waits until the node is to claim, and returns false when ctx has
// ended before. One that idled when it was told resigns as well: wakes must not
// be lost on it.
func (r *Runner) whileQuiet(ctx, work context.Context) bool {
	if !r.quiet.Load() {
		return true
	}
	for r.quiet.Load() {
		r.giveBack(true)
		r.resign(work)
		r.noteQuiet(ctx, "1") // each time: Redis may have lost it
		if !r.idle(ctx) {
			return false
		}
	}
	r.noteQuiet(ctx, "")
	return true
}

// noteQuiet writes on Redis whether the node is quiet, for [Inspector.Explain]. While
// Redis is away it waits, as a claim would: a note that is left out would stand
// until the next change.
func (r *Runner) noteQuiet(ctx context.Context, quiet string) {
	args := []any{r.Incarnation, quiet}
	for _, q := range r.Queues {
		args = append(args, q)
	}
	var reply []any
	err := link.Retry(ctx, func(ctx context.Context) error {
		var err error
		reply, err = quietScript.Run(ctx, r.Redis, []string{r.Keys.Tasks()}, args...).Slice()
		return err
	})
	if err == nil {
		err = protocolError(reply)
	}
	if err != nil && ctx.Err() == nil {
		r.Log.Debug().Err(err).Msg("not noted whether the node is quiet")
	}
}
