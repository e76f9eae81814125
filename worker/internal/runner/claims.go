package runner

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// claimState says who may send a claim. At most one is on its way: the runner's own, or one
// that goes with a commit.
type claimState int

const (
	claimFree  claimState = iota
	claimTaken            // somebody claims
	claimOver             // the node claims no more tasks
)

// idleInterval is the average time after which an idle node claims without having been
// woken. The processes' movers wake idle nodes every few seconds.
const idleInterval = time.Minute

// brokenInterval is the same while keys that the node claims from have a wrong type.
const brokenInterval = 2 * time.Second

// claimAll claims whenever a slot is free, until ctx ends.
func (r *Runner) claimAll(ctx, work context.Context) error {
	ctx, cancel := both(ctx, work)
	defer cancel()
	for {
		if !r.whileQuiet(ctx, work) || !r.whileIdle(ctx, work) {
			return nil
		}
		want, ok := r.want(ctx, work)
		if !ok {
			return nil
		}
		if want.Want == 0 { // the node became quiet or idle meanwhile, or tends and has no room
			r.stopTending(work)
			continue
		}
		if err := r.claimOnce(ctx, work, want); err != nil {
			if ctx.Err() != nil {
				return nil // tasks of a lost reply are taken over with the incarnation's
			}
			return err
		}
	}
}

// claimOnce claims tasks and starts them. The runner has taken the claim.
func (r *Runner) claimOnce(ctx, work context.Context, want queue.Ask) error {
	parked := r.session.Parked() // as the last claim saw it
	r.offer()
	got, err := r.claim(ctx, want)
	if err == nil {
		r.start(work, got)
	}
	// The next claim takes parked tasks. If it got none although there were some, another
	// node was faster, or the key of the parked tasks has the wrong type.
	next := soon
	if err == nil {
		next = r.outlook(len(got) > 0 || !parked)
	}
	r.endClaim(next)
	return err
}

// outlook is when the node claims next.
type outlook int

const (
	soon  outlook = iota // when a slot is free
	more                 // the same, and there are more tasks than the last claim asked for
	woken                // when Redis wakes it
	tends                // after restTime: it tends its queues
)

// outlook returns what the answer to a claim says of the next one. parked: it may bring the
// parked tasks that Redis told of.
func (r *Runner) outlook(parked bool) outlook {
	switch {
	case r.session.Tends():
		return tends
	case !r.session.Idle():
		return more
	case parked && r.session.Parked():
		return soon
	default:
		return woken
	}
}

// whileIdle waits until the node is to claim, and returns false when ctx ends first.
func (r *Runner) whileIdle(ctx, work context.Context) bool {
	r.mu.Lock()
	idling := r.idling
	r.mu.Unlock()
	if !idling {
		return true
	}
	if !r.idle(ctx) {
		return false
	}
	if r.full() { // woken, but all slots are blocked: wake another node instead
		r.resign(work, false)
	}
	r.mu.Lock()
	r.idling = false
	r.mu.Unlock()
	return true
}

// idle waits until the node is woken or idleInterval has passed, more or less; less if a key
// of a wrong type may keep others from waking the node. It returns false when ctx ends.
func (r *Runner) idle(ctx context.Context) bool {
	interval := idleInterval
	r.mu.Lock()
	if len(r.broken) > 0 {
		interval = brokenInterval
	}
	r.mu.Unlock()
	// Spread, so that a thousand idle nodes do not look at the same instant.
	t := time.NewTimer(interval/2 + rand.N(interval)) //nolint:gosec // jitter
	defer t.Stop()
	select {
	case <-r.woken:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// claim claims tasks, tells the observer, and reports keys of the wrong type.
func (r *Runner) claim(ctx context.Context, want queue.Ask) ([]queue.Claimed, error) {
	began := time.Now()
	want.Tend = r.mayTend(began)
	got, broken, err := r.session.Claim(ctx, want)
	if err != nil {
		return nil, err
	}
	r.claimed(want.Want, got, broken, began)
	return got, nil
}

// claimed tells of the answer to a claim.
func (r *Runner) claimed(want int, got []queue.Claimed, broken []string, began time.Time) {
	r.flow.claimed(len(got), began)
	if len(got) > 0 {
		r.hints.Refund()
	}
	if r.observer != nil {
		r.observer.Claimed(tasks.Claim{Node: r.node.Incarnation, Wanted: want, Got: len(got), Took: time.Since(began)})
	}
	r.mu.Lock()
	before := r.broken
	r.broken = broken
	r.mu.Unlock()
	for _, key := range before {
		if !slices.Contains(broken, key) {
			r.reports.Works(claiming + key)
		}
	}
	for _, key := range broken {
		r.reports.Failed(claiming+key, &link.WrongTypeError{Key: key})
	}
}

// claiming and a key name in reports the claims that pass over a key of a wrong type.
const claiming = "claims from "

// room returns how many tasks a claim may ask for, and how many make a request of its own
// worthwhile: half of the backlog is run while the next claim is on its way. The caller holds r.mu.
func (r *Runner) room() (room, worthwhile int) {
	if len(r.unsent) > maxUnflushed {
		return 0, 1
	}
	target := r.target()
	room = max(target-r.backlog.active-r.backlog.ahead(), 0)
	if r.tending.on || r.isDue() {
		return room, 1 // Redis relies on the claim, or a batch begins after it
	}
	return room, 1 + (target-r.slots)/2
}

// ask returns what a claim of that many tasks asks for. The caller holds r.mu.
func (r *Runner) ask(want int) queue.Ask {
	free := r.slots - r.backlog.active - r.backlog.ahead()
	return queue.Ask{Want: want, AtOnce: min(max(free, 0), want)}
}

// want waits until a claim is worthwhile and returns what to claim; the caller has
// to call endClaim after the claim. It returns nothing when the node is quiet or idles, or tends its
// queues without room for a task, and false when ctx or work has ended.
func (r *Runner) want(ctx, work context.Context) (queue.Ask, bool) {
	stop := context.AfterFunc(ctx, r.broadcast)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for ctx.Err() == nil && work.Err() == nil { // ctx ends with work, but a moment later
		if r.quiet.Load() || r.idling {
			return queue.Ask{}, true
		}
		if r.claims == claimFree && !r.tending.rests {
			room, worthwhile := r.room()
			lost := r.session.Lost() // then there was room for what Redis may have given
			if r.tending.on && room == 0 && !lost {
				return queue.Ask{}, true
			}
			// A commit that is about to be sent takes the claim along.
			if (lost || room >= worthwhile) && (len(r.unsent) == 0 || r.sending > 0) {
				r.takeClaim()
				return r.ask(max(room, 1)), true
			}
		}
		r.changed.Wait()
	}
	return queue.Ask{}, false
}

// beginClaim returns what may be claimed with a commit. Unless that is nothing, the caller
// has to call endClaim after the claim, or leaveClaim.
func (r *Runner) beginClaim() queue.Ask {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims != claimFree || r.quiet.Load() {
		return queue.Ask{}
	}
	room, worthwhile := r.room()
	if room == 0 || 4*room < worthwhile { // it costs little beside a commit, but not nothing
		return queue.Ask{}
	}
	r.takeClaim()
	return r.ask(room)
}

// takeClaim says that a claim begins. The caller holds r.mu.
func (r *Runner) takeClaim() {
	r.claims, r.wakesThen = claimTaken, r.wakes.Load()
	r.look(true)
}

// leaveClaim says that the claim that was about to begin is none.
func (r *Runner) leaveClaim() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims = claimFree
	r.look(false)
	r.closeDue()
	r.changed.Broadcast()
}

// endClaim says that a claim has been answered, and when the next is due. If Redis has woken the
// node since the claim began, it does not idle; what it was woken for before, the claim has
// seen.
func (r *Runner) endClaim(next outlook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims, r.flooded, r.idling = claimFree, next == more, next == woken
	r.confined = r.session.Confined()
	r.rest(next == tends)
	if r.wakes.Load() != r.wakesThen {
		r.idling = false
	} else {
		select {
		case <-r.woken:
		default:
		}
	}
	if next == woken || next == tends {
		r.looked()
	}
	r.closeDue()
	r.changed.Broadcast()
}

// endClaims waits until no claim is on its way, and lets nobody begin another.
func (r *Runner) endClaims() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.claims == claimTaken {
		r.changed.Wait()
	}
	r.claims = claimOver
	r.rest(false)
}
