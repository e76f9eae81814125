package tasks

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// window is how many batches may be on their way at once: while Redis works on
// one, the client encodes the next. The parts of one call are stored in their
// order nevertheless, whichever connection brings them.
const window = 2

// submission is one caller's tasks on their way.
type submission struct {
	ctx     context.Context //nolint:containedctx // says whether its caller still waits
	tasks   []prepared
	bytes   int
	behind  *submission    // the part of the same call before it: this one is stored only if that was
	in      *batch         // once it is on its way; under Client.mu
	done    chan struct{}  // closed when refused and err are set
	refused map[int]string // why a task was not stored, by position
	err     error
}

// batch is what goes to Redis in one script: a part that is behind another alone,
// or any number of callers' tasks.
type batch struct {
	number uint64
	parts  []*submission
	ended  chan struct{}
	over   bool // ended; under Client.mu
}

// post sends the tasks, or leaves them to who is sending: then they go with the
// next batch. A caller that has nothing else to do sends them itself when nobody
// else waits, and needs no other goroutine.
func (c *Client) post(s *submission, idle bool) {
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.mu.Unlock()
		s.end(ErrClosed)
		return
	}
	c.waiting = append(c.waiting, s)
	free := c.senders < window
	var own *batch
	if free {
		c.senders++
		c.active.Add(1)
		if idle && len(c.waiting) == 1 {
			own = c.next() // at once, so that nobody else's tasks join it
		}
	}
	c.mu.Unlock()
	switch {
	case own != nil:
		// As long as its caller's context lasts: a lone caller waits for nobody else's.
		c.send(own)
		if c.leave(own) {
			go c.sendAll()
		}
	case free:
		go c.sendAll()
	}
}

// end tells the caller what became of its tasks.
func (s *submission) end(err error) {
	s.err = err
	close(s.done)
}

// wait returns what became of the tasks, or, when the caller's context ends, that
// nobody knows or that they were never sent.
func (c *Client) wait(s *submission) error {
	select {
	case <-s.done:
		return s.err
	case <-s.ctx.Done():
	}
	kind := link.ErrUnknownOutcome
	if c.withdraw(s); !c.wasSent(s) {
		kind = link.ErrUnavailable
	}
	select {
	case <-s.done: // both are so: this one knows more
		return s.err
	default:
		return fmt.Errorf("%w: %w", kind, context.Cause(s.ctx))
	}
}

// withdraw takes what nobody waits for any more out of what waits, at once, so that
// no part is sent whose predecessor is gone: while Redis is away it would add up.
func (c *Client) withdraw(some ...*submission) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range some {
		if at := slices.Index(c.waiting, s); at >= 0 {
			c.waiting = slices.Delete(c.waiting, at, at+1)
		}
	}
}

// wasSent reports whether tasks were ever on their way.
func (c *Client) wasSent(s *submission) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.in != nil
}

// sendAll sends batch after batch until nobody waits.
func (c *Client) sendAll() {
	for {
		c.mu.Lock()
		b := c.next()
		c.mu.Unlock()
		if b != nil {
			c.send(b)
			runtime.Gosched() // those who have their answer may have more
		}
		if !c.leave(b) {
			return
		}
	}
}

// leave ends a batch, of which there may be none, and reports whether its sender
// has to go on, because more wait.
func (c *Client) leave(b *batch) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b != nil {
		b.over, b.parts = true, nil
		close(b.ended)
		c.flying = slices.DeleteFunc(c.flying, func(other *batch) bool { return other == b })
	}
	if len(c.waiting) > 0 {
		return true
	}
	c.senders--
	c.active.Done()
	return false
}

// next makes a batch of what waits, as far as it fits, without those whose callers
// left; nil when nothing is left. The caller holds c.mu.
func (c *Client) next() *batch {
	b := &batch{ended: make(chan struct{})}
	count, size, taken := 0, 0, 0
	for _, s := range c.waiting {
		if len(b.parts) > 0 && (s.behind != nil || count+len(s.tasks) > maxBatch || size+s.bytes > maxBatchBytes) {
			break
		}
		taken++
		if s.ctx.Err() == nil {
			b.parts = append(b.parts, s)
			s.in = b
			count += len(s.tasks)
			size += s.bytes
			if s.behind != nil {
				break
			}
		}
	}
	clear(c.waiting[:taken])
	c.waiting = c.waiting[taken:]
	if len(b.parts) == 0 {
		return nil
	}
	c.sent++
	b.number = c.sent
	c.flying = append(c.flying, b)
	return b
}

// send sends one batch until its outcome is known or nobody waits for it.
func (c *Client) send(b *batch) {
	ctx, cancel := c.patience(b.parts)
	defer cancel()
	unsure := false // whether a try was stored
	for n := 1; ; n++ {
		others, behind := c.others(b)
		if err := b.orphaned(); err != nil { // asked after others: who is not among these has ended
			b.settle(nil, err)
			return
		}
		reply, err := c.try(ctx, b, others, behind)
		if err == nil && !isEarly(reply) {
			b.settle(reply, c.failure(ctx, protocolError(reply), unsure))
			return
		}
		if err == nil {
			if await(ctx, behind) {
				continue
			}
			err = errEarly
		}
		unsure = unsure || link.OutcomeOf(err) == link.Unknown
		if repeatable(err) && b.wanted() && link.Sleep(ctx, link.Pause(n)) == nil {
			continue
		}
		b.settle(nil, c.failure(ctx, link.Explain(err), unsure))
		return
	}
}

// repeatable reports whether a batch that ended with err may be stored by another try.
func repeatable(err error) bool {
	return link.OutcomeOf(err) != link.Ran && !errors.Is(link.Explain(err), link.ErrFull)
}

// failure is what callers are told of a batch that ended with err; unsure: a try
// may have been stored, or may still be on its way.
func (c *Client) failure(ctx context.Context, err error, unsure bool) error {
	if err == nil {
		return nil
	}
	if unsure && !errors.Is(err, link.ErrUnknownOutcome) {
		err = fmt.Errorf("%w: %v", link.ErrUnknownOutcome, err) //nolint:errorlint // which says that nothing is stored
	}
	if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	if c.ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// others returns the batches before this one that are on their way, and which of
// them has to be stored before it, if any.
func (c *Client) others(b *batch) (open []*batch, behind *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.flying {
		if other.number < b.number {
			open = append(open, other)
		}
	}
	if first := b.parts[0].behind; first != nil && !first.in.over {
		behind = first.in
	}
	return open, behind
}

// orphaned returns the error of the part that this one is behind, if it has ended
// with one. Redis takes what is behind it only when that was stored; so this one
// has the same outcome.
func (b *batch) orphaned() error {
	first := b.parts[0].behind
	if first == nil {
		return nil
	}
	select {
	case <-first.done:
		return first.err
	default:
		return nil
	}
}

// errEarly is what a batch ends with that waited in vain for the one before it.
var errEarly = fmt.Errorf("%w: it has not answered those who were first", link.ErrUnavailable)

// isEarly reports whether Redis has not stored what must be stored before.
func isEarly(reply []any) bool { return len(reply) > 0 && reply[0] == "EARLY" }

// try sends a batch once; others are those that Redis has to remember beside it,
// behind the one of them that has to be stored before it.
func (c *Client) try(ctx context.Context, b *batch, others []*batch, behind *batch) ([]any, error) {
	number := func(b *batch) string { return strconv.FormatUint(b.number, 10) }
	open, first := make([]string, len(others)), ""
	for i, other := range others {
		open[i] = number(other)
	}
	if behind != nil {
		first = number(behind)
	}
	args := appendGroups([]any{c.producer, number(b), strings.Join(open, " "), first, producerMemory.Milliseconds()}, b.parts)
	return scriptFor(b.parts).Run(ctx, c.redis, []string{c.keys.Tasks()}, args...).Slice()
}

// await waits until the batch before has ended; false when ctx ends first.
func await(ctx context.Context, behind *batch) bool {
	select {
	case <-behind.ended:
		return true
	case <-ctx.Done():
		return false
	}
}

// patience returns the context under which a batch is sent: that of its only
// caller, or, of several, one with the latest of their deadlines, if all have one.
func (c *Client) patience(batch []*submission) (context.Context, context.CancelFunc) {
	if len(batch) == 1 && batch[0].ctx.Done() != nil {
		ctx, cancel := context.WithCancel(batch[0].ctx)
		stop := context.AfterFunc(c.ctx, cancel)
		return ctx, func() { stop(); cancel() }
	}
	var latest time.Time
	for _, s := range batch {
		deadline, has := s.ctx.Deadline()
		if !has {
			return c.ctx, func() {}
		}
		if deadline.After(latest) {
			latest = deadline
		}
	}
	return context.WithDeadline(c.ctx, latest)
}

// wanted reports whether any caller still waits for the batch.
func (b *batch) wanted() bool {
	for _, s := range b.parts {
		if s.ctx.Err() == nil {
			return true
		}
	}
	return false
}

// settle tells all callers what became of their tasks.
func (b *batch) settle(reply []any, err error) {
	codes := map[int]string{}
	for i := 1; err == nil && i+1 < len(reply); i += 2 {
		position, _ := reply[i].(int64)
		codes[int(position)], _ = reply[i+1].(string)
	}
	at := 0
	for _, s := range b.parts {
		for i := range s.tasks {
			at++
			if code, refused := codes[at]; refused {
				if s.refused == nil {
					s.refused = map[int]string{}
				}
				s.refused[i] = code
			}
		}
		s.end(err)
	}
}
