package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Timings of hand-overs.
const (
	// reapInterval is how often a process looks for leases that ran out.
	reapInterval = 2 * time.Second
	reapBatch    = 32
	// handOverTime is for how long a process that begins a hand-over has the sole right
	// to do it. After that time another process may do it.
	handOverTime = 5 * time.Second
)

// handOver gives back everything that an ended incarnation owned: its tasks, locks and
// client connections; then it frees the id. Any process can repeat it after a failure: each
// step is one script that finds on Redis what is left to do. r says what the process knows
// about the incarnation's tasks; expired is true if its lease ran out.
func (h *Host) handOver(
	ctx context.Context, i membership.Incarnation, r queue.Remains, why tasks.TakeOverReason,
) (handed queue.Handed, verdict membership.Verdict, err error) {
	reserve := handOverTime
	if len(r.Running) > 0 {
		reserve = zombieTime + handOverTime
	}
	err = h.reports.Retry(ctx, "hand-over", func(ctx context.Context) error {
		verdict, err = h.directory.Condemn(ctx, i, why == tasks.TakeOverLease, reserve)
		return h.gotOn(err)
	})
	if err != nil || verdict != membership.Condemned {
		return queue.Handed{}, verdict, err
	}
	handed, err = h.takeOver(ctx, i, r, why)
	if h.gotOn(err) != nil {
		return handed, verdict, err
	}
	err = h.reports.Retry(ctx, "hand-over", func(ctx context.Context) error {
		if _, err := h.cache.ReleaseAll(ctx, i.String()); err != nil {
			return err
		}
		if err := connections.Forget(ctx, h.client, h.keys, i.String()); err != nil {
			return err
		}
		leave := h.directory.Leave
		if handed.Left > 0 {
			leave = h.directory.Vacate
		}
		_, err := leave(ctx, i)
		return h.gotOn(err)
	})
	if err != nil {
		return handed, verdict, fmt.Errorf("hand over %s: %w", i, err)
	}
	h.inboxes.Forget(i.ID)
	h.leaves.add(redisbus.Identity{ID: i.ID, Incarnation: i.String()})
	return handed, verdict, nil
}

// gotOn records that a hand-over has got on, unless err, which it returns, says otherwise.
func (h *Host) gotOn(err error) error {
	if err == nil {
		h.handedOver.answered()
	}
	return err
}

// takeOver hands on the tasks of a condemned incarnation.
func (h *Host) takeOver(
	ctx context.Context, i membership.Incarnation, r queue.Remains, why tasks.TakeOverReason,
) (queue.Handed, error) {
	o, began := h.cfg.Observer, time.Now()
	store := queue.NewStore(h.client, h.keys)
	store.OnEnd, store.Reports = runner.OnEnd(o), h.reports
	handed, err := store.TakeOver(ctx, i.String(), r)
	some := handed.On+handed.Quarantined+handed.Cancelled > 0
	if o != nil && (some || err == nil && (why == tasks.TakeOverCrash || why == tasks.TakeOverLease)) {
		o.TookOver(tasks.TakeOver{
			Node: i.String(), Why: why, HandedOn: handed.On, Quarantined: handed.Quarantined, Cancelled: handed.Cancelled,
			Took: time.Since(began),
		})
	}
	return handed, err
}

// maxDeadNamed is how many quarantined tasks a log line names.
const maxDeadNamed = 100

// naming names the quarantined tasks in a log line about a take-over.
func naming(handed queue.Handed) func(*zerolog.Event) {
	return func(e *zerolog.Event) {
		if len(handed.Dead) > 0 {
			e.Strs("quarantinedTasks", handed.Dead[:min(len(handed.Dead), maxDeadNamed)])
		}
	}
}

// lease returns how long leases last.
func (h *Host) lease() time.Duration { return cmp.Or(h.cfg.Times.Lease, membership.DefaultLease) }

// reap hands over the incarnations of processes that died, until ctx ends.
func (h *Host) reap(ctx context.Context) error {
	defer h.reports.Ended("reaper")
	lease := h.lease()
	// The interval is much shorter than half a lease: if nobody has looked for half a
	// lease, take-overs stop for a lease (see lua/expired.lua).
	interval := min(reapInterval, lease/8)
	for link.Sleep(ctx, interval*3/4+rand.N(interval/2)) == nil { //nolint:gosec // jitter
		if err := h.reapAll(ctx, lease); ctx.Err() == nil {
			h.reports.Failed("reaper", err)
		}
	}
	return context.Cause(ctx)
}

// reapAll hands over every incarnation that may be taken over.
func (h *Host) reapAll(ctx context.Context, lease time.Duration) error {
	longest := max(lease, zombieTime+handOverTime) // reservation
	for {
		expired, err := h.directory.Expired(ctx, lease, longest, reapBatch)
		if err != nil {
			return err
		}
		var errs []error
		for _, i := range expired {
			err := h.reapOne(ctx, i)
			if link.IsOutage(err) || ctx.Err() != nil {
				return err
			}
			errs = append(errs, err) // such as a key of a wrong type: the others are not held up
		}
		if err := errors.Join(errs...); err != nil || len(expired) < reapBatch {
			return err
		}
	}
}

func (h *Host) reapOne(ctx context.Context, i membership.Incarnation) error {
	handed, verdict, err := h.handOver(ctx, i, queue.Remains{Unknown: true}, tasks.TakeOverLease)
	if err != nil || verdict != membership.Condemned {
		return err // the incarnation has renewed its lease, or another process was faster
	}
	h.log.Warn().Str("member", i.ID).Str("incarnation", i.String()).
		Int("handedOn", handed.On).Int("quarantined", handed.Quarantined).Func(naming(handed)).
		Msg("took over from a member whose lease ran out")
	return nil
}
