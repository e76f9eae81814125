package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Claiming ahead: a node whose tasks end in microseconds would spend its time
// waiting for claims, so it claims what it will have started within aheadTime,
// at most maxAhead. One whose tasks take longer claims only what it can start.
const (
	aheadTime = 4 * time.Millisecond
	maxAhead  = 500
)

// backlog is what a node has claimed and not started, and how many slots run.
// All of it is guarded by Runner.mu.
type backlog struct {
	ready []*run // from head on
	head  int
	// suspects wait for the process's [Solo] lane.
	suspects []*run
	active   int           // slots that run a task
	freed    time.Time     // when a slot last ended a task
	watch    *time.Timer   // looks for a backlog behind blocked slots
	length   time.Duration // of a run, the moving average
	seen     bool          // length has been measured
}

// blocked reports that all slots are busy with tasks longer than what was
// claimed ahead counted on.
func (b *backlog) blocked(slots int) bool {
	return b.active == slots && time.Since(b.freed) > 4*aheadTime
}

// target is how many tasks the node should have claimed and not finished.
func (b *backlog) target(slots int) int {
	if !b.seen || b.length > aheadTime/2 || b.blocked(slots) {
		return slots
	}
	ahead := maxAhead
	if b.length > 0 {
		ahead = int(min(time.Duration(slots)*aheadTime/b.length, maxAhead))
	}
	return slots + ahead
}

// ahead is how many tasks wait that need nothing but a slot.
func (b *backlog) ahead() int { return len(b.ready) - b.head }

func (b *backlog) waiting() int { return b.ahead() + len(b.suspects) }

func (b *backlog) push(x *run) {
	if x.Tries.Crashes >= queue.QuarantineAfter-1 {
		b.suspects = append(b.suspects, x)
		return
	}
	b.ready = append(b.ready, x)
}

func (b *backlog) pop() *run {
	if b.ahead() == 0 {
		return nil
	}
	x := b.ready[b.head]
	b.ready[b.head] = nil
	b.head++
	if b.head == len(b.ready) {
		b.ready, b.head = b.ready[:0], 0
	}
	return x
}

// drop takes out what waits for nothing but a slot, and returns it.
func (b *backlog) drop() []*run {
	left := b.ready[b.head:]
	b.ready, b.head = nil, 0
	return left
}

// measured takes one run's length into the average.
func (b *backlog) measured(d time.Duration) {
	if !b.seen {
		b.length, b.seen = d, true
		return
	}
	b.length += (d - b.length) / 8
}

// full reports whether there is no room for a claim.
func (r *Runner) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backlog.target(r.slots) <= r.backlog.active+r.backlog.waiting()
}

// want waits until there is room for a worthwhile claim and returns for how many
// tasks, 0 when the node is to claim none; false when ctx ended.
func (r *Runner) want(ctx, work context.Context) (int, bool) {
	stop := context.AfterFunc(ctx, r.broadcast)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for ctx.Err() == nil && work.Err() == nil { // ctx ends with work, but a moment later
		if r.quiet.Load() {
			return 0, true
		}
		target := r.backlog.target(r.slots)
		room := target - r.backlog.active - r.backlog.waiting()
		// With a backlog, half of it is run while the next claim is on its way.
		if room >= 1+(target-r.slots)/2 && len(r.unsent) <= maxUnflushed {
			return room, true
		}
		r.changed.Wait()
	}
	return 0, false
}

// giveBack returns what was claimed ahead to its queues, for nodes that have
// slots; suspects too, when the node claims no more.
func (r *Runner) giveBack(suspects bool) {
	r.mu.Lock()
	left := r.backlog.drop()
	if suspects {
		left = append(left, r.backlog.suspects...)
		r.backlog.suspects = nil
	}
	r.mu.Unlock()
	for _, x := range left {
		x.End(queue.Back, nil)
		r.ended(x)
	}
}

// lookAfter gives the backlog back when the slots turn out to be blocked. It
// looks as long as there is a backlog.
func (r *Runner) lookAfter() {
	r.mu.Lock()
	blocked, waiting := r.backlog.blocked(r.slots), r.backlog.ahead()
	if waiting > 0 && !blocked {
		r.backlog.watch.Reset(lookAfterEvery)
	} else {
		r.backlog.watch = nil
	}
	r.mu.Unlock()
	if blocked && waiting > 0 {
		r.giveBack(false)
	}
}

// lookAfterEvery is how often a backlog is looked after.
const lookAfterEvery = 8 * aheadTime

// start puts claimed tasks into the backlog and as many slots to work as it takes.
func (r *Runner) start(work context.Context, got []queue.Claimed) {
	var over []*run
	r.mu.Lock()
	for _, c := range got {
		x := r.newRun(work, c)
		r.inHand[c.ID] = x
		switch {
		case c.Malformed != nil:
			x.dead(c.Tries, c.Malformed)
			over = append(over, x)
		case x.late(0):
			x.dead(c.Tries, fmt.Errorf("%w before it began", tasks.ErrDeadline))
			over = append(over, x)
		case x.def.handle == nil:
			x.park()
			over = append(over, x)
		default:
			r.backlog.push(x)
		}
	}
	r.startSlots()
	if r.backlog.ahead() > 0 && r.backlog.watch == nil {
		r.backlog.watch = time.AfterFunc(lookAfterEvery, r.lookAfter)
	}
	r.mu.Unlock()
	for _, x := range over {
		switch {
		case x.Malformed != nil:
			x.log().Error().Err(x.Malformed).Msg("task is dead: its record cannot be read")
		case x.Verb() == queue.Dead:
			x.log().Warn().Msg("task is dead: its deadline passed before it began")
		}
		r.ended(x)
	}
}

// startSlots puts free slots to work as far as there is some. The caller holds r.mu.
func (r *Runner) startSlots() {
	more := true
	for more && r.backlog.active < r.slots {
		more = r.startSlot()
	}
}

// startSlot begins a slot with the next task. The caller holds r.mu.
func (r *Runner) startSlot() bool {
	x := r.next()
	if x == nil {
		return false
	}
	r.backlog.active++
	r.backlog.freed = time.Now()
	go r.slot(x)
	return true
}

// next takes a task from the backlog to be started. The caller holds r.mu.
func (r *Runner) next() *run {
	x := r.nextSuspect()
	if x == nil {
		x = r.backlog.pop()
	}
	if x != nil {
		if x.work.Err() != nil {
			r.leaveSolo(x)
			return nil // the node is ending: it goes back, never started
		}
		x.started = true
		r.started.Add(1)
	}
	return x
}

// slot runs one task after the other until there is none.
func (r *Runner) slot(x *run) {
	for x != nil {
		x.began = time.Now()
		x.Waited = x.Record.Waited(x.Clock.At(x.began))
		var following *run
		x.handle(func(goexit bool) {
			r.leaveSolo(x)
			following = r.slotFree(x.Ran)
			if goexit && following != nil {
				go r.slot(following) // this goroutine is ending
			}
		})
		x = following
	}
}

// slotFree ends a slot's task and returns its next one, or nil when the slot ends.
func (r *Runner) slotFree(took time.Duration) *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.measured(took)
	r.backlog.freed = time.Now()
	x := r.next()
	if x == nil {
		r.backlog.active--
	}
	r.changed.Broadcast()
	return x
}
