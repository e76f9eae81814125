package link

import (
	"context"
	"math/rand/v2"
	"time"
)

// Bounds of the pause between two tries of a request.
const (
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second
)

// Pause returns how long to wait before a request is repeated after its n-th failure in a
// row: [Backoff] from 50 ms to 2 s.
func Pause(n int) time.Duration { return Backoff(minPause, maxPause, n) }

// Backoff returns how long to wait after the n-th failure in a row (from 1): first,
// doubled with each further failure up to most. A random half of that time is jitter, so
// that a thousand nodes do not come back at the same instant.
func Backoff(first, most time.Duration, n int) time.Duration {
	d := most
	if n = max(n-1, 0); n < 40 && first<<n > 0 {
		d = min(first<<n, most)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter
}

// Sleep waits for d or until ctx ends, and returns ctx's cause in that case.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Retry calls f until f succeeds, Redis answers with an error, or ctx ends. It repeats f
// both when Redis did not run the command and when the outcome is unknown: f must be safe
// to repeat. When ctx ends, the error is f's last error, as [Explain] wraps it. Use it where
// ctx ends soon, and [Reports.Retry] elsewhere.
func Retry(ctx context.Context, f func(context.Context) error) error {
	return (*Reports)(nil).Retry(ctx, "", f)
}

// FewTries is how often a request fails in a row before it is reported that it is repeated.
const FewTries = 3

// Retry is the function [Retry], which reports from the third failure on that the part
// fails: no request is repeated for long without a line in the log.
func (r *Reports) Retry(ctx context.Context, part string, f func(context.Context) error) error {
	return r.repeat(ctx, part, f, func(error) bool { return false })
}

// Insist is the function [Reports.Retry] for a request without which a node cannot go on: it
// also repeats the request while Redis refuses it because a key of the namespace has another
// type, and reports that at once. It works again as soon as the key is renamed or deleted.
func (r *Reports) Insist(ctx context.Context, part string, f func(context.Context) error) error {
	return r.repeat(ctx, part, f, IsWrongType)
}

// repeat repeats f while Redis does not answer, or answers with an error that is mendable.
func (r *Reports) repeat(ctx context.Context, part string, f func(context.Context) error, mendable func(error) bool) error {
	reported := false
	for n := 1; ; n++ {
		err := f(ctx)
		refused := err != nil && mendable(err)
		if err == nil || OutcomeOf(err) == Ran && !refused {
			if reported {
				r.Works(part)
			}
			return err
		}
		if n >= FewTries || refused {
			r.Failed(part, err)
			reported = true
		}
		if ctx.Err() != nil || Sleep(ctx, Pause(n)) != nil {
			r.Ended(part)
			return Explain(err)
		}
	}
}
