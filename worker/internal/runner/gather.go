package runner

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// gathering is the next batch of tasks of one name. Its tasks take no slot. Runner.mu guards it.
type gathering struct {
	runs  []*run
	bytes int         // of their payloads
	timer *time.Timer // calls gathered when the batch is due; nil: it is due with its first task
	// due: the batch begins once a claim has been answered that began after that, so that it has
	// all that came before; or at once, if no claim can begin.
	due  bool
	last bool // the claim that is on its way began after that
}

// offer tells the session what the claim that begins may gather. The runner has taken the claim.
func (r *Runner) offer() {
	if len(r.batched) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]queue.Gathering, 0, len(r.batched))
	for _, name := range r.batched {
		most := queue.Gathering{Name: name, Number: r.backlog.numbers[name], Tasks: r.handlers[name].batch.Max, Bytes: tasks.MaxBatchBytes}
		if most.Number == 0 {
			r.backlog.batches++
			most.Number = r.backlog.batches
			r.backlog.numbers[name] = most.Number
		}
		if g := r.backlog.gathered[name]; g != nil {
			most.Tasks, most.Bytes = most.Tasks-len(g.runs), most.Bytes-g.bytes
		}
		all = append(all, most)
	}
	// While tasks come one by one, the node may claim and commit in one request as others do.
	r.session.Gather(all, r.flooded && len(r.backlog.gathered) > 0 || len(r.backlog.returned) > 0)
}

// gather adds a task to the next batch of its name. The caller holds r.mu.
func (r *Runner) gather(x *run) {
	name, b := x.Record.Name, x.def.batch
	g := r.backlog.gathered[name]
	if g == nil {
		g = &gathering{due: b.Wait == 0}
		if b.Wait > 0 {
			g.timer = time.AfterFunc(b.Wait, func() { r.gathered(name, g) })
		}
		r.backlog.gathered[name] = g
	}
	g.runs = append(g.runs, x)
	if left, has := x.untilDeadline(); has {
		x.expiry = time.AfterFunc(left, func() { r.expired(x) })
	}
	if g.bytes += len(x.Record.Payload); len(g.runs) >= b.Max || g.bytes >= tasks.MaxBatchBytes {
		r.close(name, g)
	}
}

// gathered notes that the time of a batch is over.
func (r *Runner) gathered(name string, g *gathering) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.backlog.gathered[name] == g {
		g.due = true
		r.closeDue()
	}
}

// expired ends a task whose deadline has passed while it was gathered.
func (r *Runner) expired(x *run) {
	r.mu.Lock()
	was := r.ungather(x)
	if was {
		x.tooLate()
	}
	r.mu.Unlock()
	if was {
		x.logTooLate()
		r.ended(x)
	}
}

// close has a batch wait for a slot like a task: nothing is added to it any more. The caller holds r.mu.
func (r *Runner) close(name string, g *gathering) {
	r.drop(name, g)
	r.backlog.ready = append(r.backlog.ready, together(g.runs))
}

// closeReturned closes the batches that a claim brought of names of which one went back when it was due: its time
// is over, and it was the next one. They begin before all that came with them. The caller holds r.mu.
func (r *Runner) closeReturned() {
	for name := range r.backlog.returned {
		if g := r.backlog.gathered[name]; g != nil {
			r.drop(name, g)
			r.backlog.push(together(g.runs))
		}
	}
}

// drop ends the gathering of a batch. The caller holds r.mu.
func (r *Runner) drop(name string, g *gathering) {
	delete(r.backlog.gathered, name)
	delete(r.backlog.numbers, name)
	if g.timer != nil {
		g.timer.Stop()
	}
	for _, x := range g.runs {
		x.stopExpiry()
	}
}

func (r *run) stopExpiry() {
	if r.expiry != nil {
		r.expiry.Stop()
	}
}

// together makes a batch of runs and returns the first one, which stands for it.
func together(runs []*run) *run {
	members := make([]*queue.Run, len(runs))
	for i, x := range runs {
		members[i] = &x.Run
	}
	for _, x := range runs {
		x.Members, x.first = members, runs[0]
	}
	runs[0].batch = runs
	return runs[0]
}

// alone makes a batch of one if the task's handler takes batches.
func (r *run) alone() *run {
	if r.def.batch.Max == 0 {
		return r
	}
	return together([]*run{r})
}

// closeDue closes the batches that are due and for which no claim is on its way or about to begin. The
// caller holds r.mu.
func (r *Runner) closeDue() {
	if r.claims == claimTaken {
		return
	}
	room, _ := r.room()
	claims := room > 0 && r.claims != claimOver && !r.quiet.Load()
	closed := false
	for name, g := range r.backlog.gathered {
		switch {
		case !g.due:
		case claims && !g.last:
			r.changed.Broadcast()
			r.Wake()
		default:
			r.close(name, g)
			closed = true
		}
	}
	if closed {
		r.startSlots()
		r.watch()
	}
}

// isDue reports whether a batch waits for the next claim. The caller holds r.mu.
func (r *Runner) isDue() bool {
	for _, g := range r.backlog.gathered {
		if g.due {
			return true
		}
	}
	return false
}

// look says of the batches that are due whether the claim that is on its way is the last one
// before they begin. The caller holds r.mu.
func (r *Runner) look(last bool) {
	for _, g := range r.backlog.gathered {
		g.last = last && g.due
	}
}

// lookAgain says that the claim that was on its way was none.
func (r *Runner) lookAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look(false)
}

// looked says that a claim has brought all there is: the batches that do not wait may begin. The caller holds
// r.mu.
func (r *Runner) looked() {
	for _, g := range r.backlog.gathered {
		g.last = g.last || g.timer == nil
	}
}

// scatter removes the batches that are gathered from the backlog, or only those that are due, and returns their
// runs. The caller holds r.mu.
func (r *Runner) scatter(onlyDue bool) (left []*run) {
	for name, g := range r.backlog.gathered {
		if onlyDue && !g.due {
			continue
		}
		r.drop(name, g)
		r.backlog.returned[name] = true
		left = append(left, g.runs...)
	}
	return left
}

// ungather removes a task from the batch for which it was gathered. It returns false if there is none. The
// caller holds r.mu.
func (r *Runner) ungather(x *run) bool {
	name := x.Record.Name
	g := r.backlog.gathered[name]
	if g == nil {
		return false
	}
	at := slices.Index(g.runs, x)
	if at < 0 {
		return false
	}
	g.runs = slices.Delete(g.runs, at, at+1)
	x.stopExpiry()
	g.bytes -= len(x.Record.Payload)
	if len(g.runs) == 0 {
		r.drop(name, g)
	}
	return true
}

// payload returns what the handler is called with.
func (r *run) payload() json.RawMessage {
	if r.batch == nil {
		return r.Record.Payload
	}
	size := 2
	for _, x := range r.batch {
		size += len(x.Record.Payload) + 1
	}
	all := append(make([]byte, 0, size), '[')
	for i, x := range r.batch {
		if i > 0 {
			all = append(all, ',')
		}
		all = append(all, x.Record.Payload...)
	}
	return append(all, ']')
}

// each calls f with each run of a batch, or with r alone.
func (r *run) each(f func(*run)) {
	if r.batch == nil {
		f(r)
	}
	for _, x := range r.batch {
		f(x)
	}
}
