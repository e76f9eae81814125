package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Claiming ahead: a node with free slots only would have them wait for each claim. It
// therefore claims as many tasks more than it has slots as it expects to start within
// aheadTime, at most maxAhead; unless its tasks end within half of that time, only while
// there are more tasks than it asks for: otherwise another node could start them sooner.
const (
	aheadTime = 4 * time.Millisecond
	maxAhead  = 500
	// blockedTime is how long all slots may be busy, at least, until the tasks take longer
	// than claiming ahead assumed.
	blockedTime = 4 * aheadTime
	// maxBlockedTime bounds the same for tasks that are long on average.
	maxBlockedTime = 50 * time.Millisecond
)

// backlog holds the tasks that a node has claimed and not started, and counts the slots
// that run. Runner.mu guards all fields.
type backlog struct {
	ready    []*run // the entries before head have been started
	head     int
	gathered map[string]*gathering // by the name of the tasks
	numbers  map[string]uint64     // of the next batches, as Redis counts them
	batches  uint64                // the last number
	// returned are the names of tasks of which a batch that was due went back, and none has begun since.
	returned map[string]bool
	// suspects wait for the process's [Solo] lane. They count against no slot.
	suspects []*run
	active   int           // number of slots that run a task
	freed    time.Time     // when a slot last began or ended a task
	watch    *time.Timer   // calls lookAfter while there is a backlog
	length   time.Duration // moving average of the length of a run
	seen     bool          // length has been measured
}

// blocked reports whether all slots are busy and none has begun or ended a task for so long
// that the tasks take longer than claiming ahead assumed.
func (b *backlog) blocked(slots int) bool {
	return b.active == slots && time.Since(b.freed) > min(max(blockedTime, 2*b.length), maxBlockedTime)
}

// target returns how many claimed and unfinished tasks the node should have. more means that
// there are more tasks than the last claim asked for.
func (b *backlog) target(slots int, more bool) int {
	if !b.seen || b.length > aheadTime/2 && !more || b.blocked(slots) {
		return slots
	}
	ahead := maxAhead
	if b.length > 0 {
		ahead = int(min(time.Duration(slots)*aheadTime/b.length, maxAhead))
	}
	return slots + ahead
}

// ahead returns how many tasks wait for a slot, without the suspects.
func (b *backlog) ahead() int { return len(b.ready) - b.head }

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

// push has a task be the next one.
func (b *backlog) push(x *run) {
	b.ready = append([]*run{x}, b.ready[b.head:]...)
	b.head = 0
}

// drop removes and returns the tasks that wait for a slot or for the lane.
func (b *backlog) drop() (left []*run) {
	for _, x := range slices.Concat(b.ready[b.head:], b.suspects) {
		if x.batch != nil && !x.suspect() {
			b.returned[x.Record.Name] = true
		}
		x.each(func(x *run) { left = append(left, x) })
	}
	b.ready, b.head, b.suspects = nil, 0, nil
	return left
}

// measured adds the length of one run to the moving average.
func (b *backlog) measured(d time.Duration) {
	if !b.seen {
		b.length, b.seen = d, true
		return
	}
	b.length += (d - b.length) / 8
}

// target returns how many claimed and unfinished tasks the node should have. The caller holds r.mu.
func (r *Runner) target() int {
	if r.confined {
		return r.slots
	}
	return r.backlog.target(r.slots, r.flooded)
}

// full reports whether there is no room for a claim.
func (r *Runner) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.target() <= r.backlog.active+r.backlog.ahead()
}

// giveBack returns the tasks that were claimed and not started to their queues, for nodes
// with free slots.
func (r *Runner) giveBack() { r.giveBackSome(false) }

// giveBackSome is giveBack without, if onlyDue, the batches that are not due yet.
func (r *Runner) giveBackSome(onlyDue bool) {
	r.mu.Lock()
	left := append(r.backlog.drop(), r.scatter(onlyDue)...)
	r.mu.Unlock()
	slices.Reverse(left) // each goes to the front of its line: the first one last
	for _, x := range left {
		x.End(queue.Back, nil)
	}
	if len(left) > 0 {
		r.ended(left...)
	}
}

// lookAfter gives the backlog back when all slots are blocked, and turns the suspects away
// when their lane is. Otherwise it schedules its next call, as long as there is a backlog.
func (r *Runner) lookAfter() {
	r.mu.Lock()
	blocked := r.backlog.blocked(r.slots)
	var turned []*run
	if !blocked && r.solo.blocked() {
		turned, r.backlog.suspects = r.backlog.suspects, nil
		for _, x := range turned {
			r.turnAway(x)
		}
	}
	r.backlog.watch = nil
	if !blocked {
		r.watch()
	}
	r.mu.Unlock()
	for _, x := range turned {
		r.ended(x)
	}
	if blocked {
		r.giveBackSome(true)
	}
}

// watch schedules a call of lookAfter if there is a backlog. The caller holds r.mu.
func (r *Runner) watch() {
	if r.backlog.watch == nil && (r.backlog.ahead()+len(r.backlog.suspects) > 0 || r.isDue()) {
		r.backlog.watch = time.AfterFunc(lookAfterEvery, r.lookAfter)
	}
}

// lookAfterEvery is the time between two calls of lookAfter.
const lookAfterEvery = 8 * aheadTime

// start puts claimed tasks into the backlog and starts free slots. Tasks that cannot run
// here now (malformed, past their deadline, without a handler, suspects whose lane is
// blocked) it ends, parks or turns away at once.
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
			x.tooLate()
			over = append(over, x)
		case x.def.handle == nil:
			x.park()
			over = append(over, x)
		case x.def.batch.Max > 0 && !x.suspect() && json.Valid(x.Record.Payload):
			r.gather(x)
		case !x.suspect():
			r.backlog.ready = append(r.backlog.ready, x.alone())
		case r.solo.blocked() || len(r.backlog.suspects) >= maxAhead:
			r.turnAway(x)
			over = append(over, x)
		default:
			r.backlog.suspects = append(r.backlog.suspects, x.alone())
		}
	}
	r.closeReturned()
	r.startSlots()
	r.watch()
	r.mu.Unlock()
	for _, x := range over {
		switch {
		case x.Malformed != nil:
			x.log().Error().Err(x.Malformed).Msg("task is dead: its record cannot be read")
		case x.Verb() == queue.Dead:
			x.logTooLate()
		}
		r.ended(x)
	}
}

// tooLate sets the outcome of a task whose deadline passed before it began.
func (r *run) tooLate() { r.dead(r.Tries, fmt.Errorf("%w before it began", tasks.ErrDeadline)) }

func (r *run) logTooLate() { r.log().Warn().Msg("task is dead: its deadline passed before it began") }

// startSlots starts free slots while there are tasks for them. The caller holds r.mu.
func (r *Runner) startSlots() {
	more := true
	for more && r.backlog.active < r.slots {
		more = r.startSlot()
	}
}

// startSlot starts a slot with the next task, and returns false if there is no task. The
// caller holds r.mu.
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

// next removes the next task to start from the backlog, or returns nil. The caller holds
// r.mu.
func (r *Runner) next() *run {
	x := r.nextSuspect()
	if x == nil {
		x = r.backlog.pop()
	}
	if x != nil {
		if x.work.Err() != nil {
			r.leaveSolo(x)
			return nil // the node is ending: the task returns to its queue without a run
		}
		if x.batch != nil {
			delete(r.backlog.returned, x.Record.Name)
		}
		x.each(func(x *run) {
			x.started = true
			r.started.Add(1)
		})
	}
	return x
}

// slot runs x and then one task after the other until the backlog has none.
func (r *Runner) slot(x *run) {
	for x != nil {
		x.began = time.Now()
		began := x.began
		x.each(func(x *run) { x.Waited = x.Record.Waited(x.Clock.At(began)) })
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

// slotFree notes that a slot's task has ended after took. It returns the slot's next task,
// or nil when the slot ends.
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
