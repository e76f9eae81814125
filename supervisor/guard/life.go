package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/stellarfw/stellar/worker/membership"
)

// life is one life of a child.
type life struct {
	slot    *slot
	process *os.Process
	pid     int
	pipe    *pipe
	launch  string // see membership.Guarded
	began   time.Time
	exited  chan struct{} // closed when the process has ended and is reaped
	read    chan struct{} // closed when all its messages are read
	heard   chan struct{} // has capacity 1; a message came
	leave   chan struct{} // closed when it has to drain, although its guardian goes on: see depart
	left    sync.Once
	over    chan struct{}   // closed when the process is buried
	settled <-chan struct{} // after over; closed when what it owned is handed over

	hadTasks bool // after settled

	// Guarded by the mutex of the slot.
	told   bool   // it has sent a status
	status Status // the latest
	heir   *life  // has taken its place; nil for none

	frozen chan struct{} // receives when no message is read any more
	thaw   chan struct{} // has the reading go on

	state  *os.ProcessState // after exited
	killed bool             // by the guardian, as it took too long
	// outgrewAfter is when the child had outgrown Config.MaxMemory, since it began; 0 if it has not.
	outgrewAfter time.Duration
	end          *End                     // after read; nil for a child that did not end by itself
	foreign      bool                     // after read; it speaks another version of the protocol
	abandoned    []membership.Incarnation // after read

	mu      sync.Mutex
	orders  int
	pending map[int]chan error // orders that were not answered yet
	gone    bool
}

// wait waits until the process has ended.
func (l *life) wait() {
	l.state, _ = l.process.Wait()
	close(l.exited)
}

// mostAbandoned is how many nodes with abandoned handlers a life remembers.
const mostAbandoned = 1000

// listen reads the child's messages until its end of the pipe is closed.
func (l *life) listen() {
	defer close(l.read)
	defer l.pipe.close()
	for {
		m, err := l.pipe.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.frozen <- struct{}{}
			<-l.thaw
			continue
		}
		if err != nil {
			if l.foreign = errors.Is(err, errVersion); !l.foreign && !ended(err) {
				l.slot.g.log.Error().Err(err).Int("process", l.slot.number).Int("pid", l.pid).
					Msg("process is not understood: it stops, and is started again")
			}
			break
		}
		select {
		case l.heard <- struct{}{}:
		default:
		}
		l.receive(m)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	for _, answer := range l.pending {
		answer <- errGone
	}
}

// receive acts on a message of the child.
func (l *life) receive(m message) {
	switch {
	case m.Status != nil:
		l.slot.hear(l, *m.Status)
	case m.Done != nil:
		l.answer(*m.Done)
	case m.Ask != nil:
		go l.slot.g.asked(l, *m.Ask)
	case m.End != nil:
		l.end = m.End
	case m.Abandoned != "":
		if i, ok := parse(m.Abandoned); ok && len(l.abandoned) < mostAbandoned {
			l.abandoned = append(l.abandoned, i)
		}
	}
}

// hear notes a status of a life.
func (s *slot) hear(l *life, status Status) {
	s.mu.Lock()
	l.told, l.status = true, status
	if s.life == l {
		s.told, s.status = true, status
	}
	s.mu.Unlock()
	s.once.Do(func() { close(s.first) })
	if status.Ready > 0 {
		s.g.mu.Lock()
		s.g.worked = true
		s.g.mu.Unlock()
	}
}

// doubt notes that nothing is known of the nodes of a life that has told nothing for a while.
func (s *slot) doubt(l *life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == l {
		s.status.Ready, s.status.Healthy = 0, false
	}
}

// readTime is how long the messages of a dead child are still read: programs may hold its end
// of the pipe.
const readTime = 200 * time.Millisecond

// awaitRead waits until all messages of a dead child are read.
func (l *life) awaitRead() {
	t := time.NewTimer(readTime)
	defer t.Stop()
	select {
	case <-l.read:
	case <-t.C:
		l.pipe.close()
		<-l.read
	}
}

// await returns when the process has ended. When ctx ends, or the life has to leave, it tells the child to
// drain, and kills it when it takes too long. It also kills a child that has told of itself, and then
// nothing for long (before, it makes its App, which may take any time), and has one replaced that needs too
// much memory.
func (l *life) await(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stopping, leave, hurry := ctx.Done(), l.leave, l.slot.g.hurry
	var over <-chan time.Time
	drain := func() {
		if over == nil {
			_ = l.pipe.write(message{Stop: 1})
			over = time.After(l.slot.g.cfg.Drain)
		}
	}
	silent := 0
	for {
		select {
		case <-l.exited:
			return
		case <-stopping:
			stopping = nil
			drain()
		case <-leave:
			leave = nil
			drain()
		case <-hurry:
			hurry = nil
			_ = l.pipe.write(message{Stop: 2})
		case <-over:
			l.killed = true
			_ = l.process.Kill()
		case <-l.heard:
			silent = 0
		case <-tick.C:
			silent = l.suspect(silent + 1)
			if over == nil && l.outgrewAfter == 0 && l.outgrows() {
				l.slot.lives.Go(func() { l.slot.renew(ctx, l) })
			}
		}
	}
}

// suspect doubts, and later kills, a child that has told nothing for so many seconds, and returns for how many: they
// begin anew for a child that has never told of itself. They are counted, and not measured: this process may have
// been stopped itself.
func (l *life) suspect(silent int) int {
	if told, _ := l.tells(); !told {
		silent = 1
	}
	switch silent {
	case int(doubt / time.Second):
		l.slot.doubt(l)
	case int(silence / time.Second):
		l.slot.g.log.Error().Int("process", l.slot.number).Int("pid", l.pid).Stringer("silence", silence).
			Msg("process hangs: killing it")
		_ = l.process.Kill()
	}
	return silent
}

// how says how the process ended.
func (l *life) how() string {
	switch {
	case l.state == nil:
		return "it is gone"
	case l.end != nil && l.end.Error != "":
		return fmt.Sprintf("%s: %s", l.state, l.end.Error)
	default:
		return l.state.String() // such as "signal: killed"
	}
}

// send sends an order and returns where its answer comes.
func (l *life) send(what Order) <-chan error {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer := make(chan error, 1)
	if l.gone {
		answer <- errGone
		return answer
	}
	l.orders++
	if l.pending == nil {
		l.pending = map[int]chan error{}
	}
	l.pending[l.orders] = answer
	what.Number = l.orders
	if err := l.pipe.write(message{Order: &what}); err != nil {
		delete(l.pending, l.orders)
		answer <- err
	}
	return answer
}

// answer hands on the answer to an order.
func (l *life) answer(d done) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := l.pending[d.Number]
	if to == nil {
		return
	}
	delete(l.pending, d.Number)
	var err error
	if d.Error != "" {
		err = fmt.Errorf("process %d: %s", l.slot.number, d.Error)
	}
	to <- err
}
