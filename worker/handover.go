package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
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

// settler hands over what ended incarnations owned.
type settler struct {
	client    *redis.Client
	keys      link.Keys
	directory membership.Directory
	cache     *cache.Cache // to free their locks
	reports   *link.Reports
	observer  Observer                     // nil for none
	progress  redisProbe                   // when a hand-over last got on
	left      func(membership.Incarnation) // is called for each incarnation that has been handed over
}

// handOver gives back everything that an ended incarnation owned: its tasks, locks and
// client connections; then it frees the id. Any process can repeat it after a failure: each
// step is one script that finds on Redis what is left to do. r says what the process knows
// about the incarnation's tasks; expired is true if its lease ran out.
func (s *settler) handOver(
	ctx context.Context, i membership.Incarnation, r queue.Remains, why tasks.TakeOverReason,
) (handed queue.Handed, verdict membership.Verdict, err error) {
	reserve := handOverTime
	if len(r.Running) > 0 {
		reserve = zombieTime + handOverTime
	}
	err = s.reports.Retry(ctx, "hand-over", func(ctx context.Context) error {
		verdict, err = s.directory.Condemn(ctx, i, why == tasks.TakeOverLease, reserve)
		return s.gotOn(err)
	})
	if err != nil || verdict != membership.Condemned {
		return queue.Handed{}, verdict, err
	}
	handed, err = s.takeOver(ctx, i, r, why)
	if s.gotOn(err) != nil {
		return handed, verdict, err
	}
	err = s.reports.Retry(ctx, "hand-over", func(ctx context.Context) error {
		if _, err := s.cache.ReleaseAll(ctx, i.String()); err != nil {
			return err
		}
		if err := connections.Forget(ctx, s.client, s.keys, i.String()); err != nil {
			return err
		}
		leave := s.directory.Leave
		if handed.Left > 0 {
			leave = s.directory.Vacate
		}
		_, err := leave(ctx, i)
		return s.gotOn(err)
	})
	if err != nil {
		return handed, verdict, fmt.Errorf("hand over %s: %w", i, err)
	}
	s.left(i)
	return handed, verdict, nil
}

// gotOn records that a hand-over has got on, unless err, which it returns, says otherwise.
func (s *settler) gotOn(err error) error {
	if err == nil {
		s.progress.answered()
	}
	return err
}

// takeOver hands on the tasks of a condemned incarnation.
func (s *settler) takeOver(
	ctx context.Context, i membership.Incarnation, r queue.Remains, why tasks.TakeOverReason,
) (queue.Handed, error) {
	o, began := s.observer, time.Now()
	store := queue.NewStore(s.client, s.keys)
	store.OnEnd, store.Reports = runner.OnEnd(o), s.reports
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
	handed, verdict, err := h.settler.handOver(ctx, i, queue.Remains{Unknown: true}, tasks.TakeOverLease)
	if err != nil || verdict != membership.Condemned {
		return err // the incarnation has renewed its lease, or another process was faster
	}
	h.log.Warn().Str("member", i.ID).Str("incarnation", i.String()).
		Int("handedOn", handed.On).Int("quarantined", handed.Quarantined).Func(naming(handed)).
		Msg("took over from a member whose lease ran out")
	return nil
}
