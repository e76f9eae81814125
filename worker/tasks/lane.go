package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stellarfw/stellar/redisbus"
)

// lanes is how many batches may be on their way at once: while Redis works on
// one, the client encodes the next.
const lanes = 2

// lane is a producer as Redis knows it: it numbers its batches, and has at most
// one on its way.
type lane struct {
	name  string
	busy  bool
	batch uint64
}

// submission is one caller's tasks on their way.
type submission struct {
	ctx     context.Context //nolint:containedctx // says whether its caller still waits
	tasks   []prepared
	bytes   int
	done    chan struct{}  // closed when refused and err are set
	refused map[int]string // why a task was not stored, by position
	err     error
}

// submit sends the tasks, or leaves them to who is sending: then they go with
// the next batch.
func (c *Client) submit(s *submission) error {
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.mu.Unlock()
		return ErrClosed
	}
	c.waiting = append(c.waiting, s)
	free := c.freeLane()
	alone := free != nil && len(c.waiting) == 1
	var own []*submission
	if free != nil {
		free.busy = true
		c.active.Add(1)
	}
	if alone {
		own = c.gather() // at once, so that nobody else's tasks join it
	}
	c.mu.Unlock()
	switch {
	case alone:
		// It goes on its caller's goroutine, as long as its caller's context
		// lasts: a lone caller waits for nobody else's.
		if c.sendBatch(free, own) {
			go c.sendAll(free)
		} else {
			c.active.Done()
		}
	case free != nil:
		go c.sendAll(free)
	}
	select {
	case <-s.done:
		return s.err
	case <-s.ctx.Done():
		return fmt.Errorf("%w: %w", redisbus.ErrUnknownOutcome, context.Cause(s.ctx))
	}
}

// freeLane returns a lane that sends nothing, or nil. The caller holds c.mu.
func (c *Client) freeLane() *lane {
	for i := range c.lanes {
		if !c.lanes[i].busy {
			return &c.lanes[i]
		}
	}
	return nil
}

// sendAll sends batch after batch until nobody waits.
func (c *Client) sendAll(l *lane) {
	defer c.active.Done()
	for c.sendNext(l) {
	}
}

// sendNext sends what waits, as far as it fits, and reports whether more waits.
func (c *Client) sendNext(l *lane) bool {
	c.mu.Lock()
	batch := c.gather()
	c.mu.Unlock()
	return c.sendBatch(l, batch)
}

// sendBatch sends a batch and reports whether more wait. The caller has the lane.
func (c *Client) sendBatch(l *lane, batch []*submission) bool {
	if len(batch) > 0 {
		c.mu.Lock()
		l.batch++
		number := l.batch
		c.mu.Unlock()
		c.send(l.name, number, batch)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.busy = len(c.waiting) > 0
	return l.busy
}

// gather takes the submissions of the next batch, without those whose callers left.
func (c *Client) gather() []*submission {
	var batch []*submission
	count, size, taken := 0, 0, 0
	for _, s := range c.waiting {
		if len(batch) > 0 && (count+len(s.tasks) > maxBatch || size+s.bytes > maxBatchBytes) {
			break
		}
		taken++
		if s.ctx.Err() == nil {
			batch = append(batch, s)
			count += len(s.tasks)
			size += s.bytes
		}
	}
	clear(c.waiting[:taken])
	c.waiting = c.waiting[taken:]
	return batch
}

// send sends one batch until its outcome is known or nobody waits for it.
func (c *Client) send(producer string, number uint64, batch []*submission) {
	keys := []string{c.keys.Tasks()}
	args := []any{producer, number, producerMemory.Milliseconds()}
	args = appendGroups(args, batch)
	script := scriptFor(batch)
	ctx, cancel := c.patience(batch)
	defer cancel()
	for n := 1; ; n++ {
		reply, err := script.Run(ctx, c.redis, keys, args...).Slice()
		if err == nil {
			settle(batch, reply, protocolError(reply))
			return
		}
		explained := redisbus.Explain(err)
		again := redisbus.OutcomeOf(err) != redisbus.Ran && !errors.Is(explained, redisbus.ErrFull)
		if again && c.wanted(batch) && redisbus.Sleep(ctx, redisbus.Pause(n)) == nil {
			continue
		}
		if c.ctx.Err() != nil {
			explained = fmt.Errorf("%w: %w", ErrClosed, explained)
		}
		settle(batch, nil, explained)
		return
	}
}

// scriptFor returns the script that can store all tasks of a batch.
func scriptFor(batch []*submission) *redisbus.Script {
	for _, s := range batch {
		if slices.ContainsFunc(s.tasks, prepared.binds) {
			return enqueueBinding
		}
	}
	return enqueueScript
}

// binds reports whether the task has a unique key or follows others.
func (p prepared) binds() bool { return p.unique != "" || p.after != "" }

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
func (c *Client) wanted(batch []*submission) bool {
	for _, s := range batch {
		if s.ctx.Err() == nil {
			return true
		}
	}
	return false
}

func settle(batch []*submission, reply []any, err error) {
	codes := map[int]string{}
	for i := 1; err == nil && i+1 < len(reply); i += 2 {
		position, _ := reply[i].(int64)
		codes[int(position)], _ = reply[i+1].(string)
	}
	at := 0
	for _, s := range batch {
		s.err = err
		for i := range s.tasks {
			at++
			if code, refused := codes[at]; refused {
				if s.refused == nil {
					s.refused = map[int]string{}
				}
				s.refused[i] = code
			}
		}
		close(s.done)
	}
}

// alike reports whether two tasks can go in one group of add() in adding.lua.
func (p prepared) alike(o prepared) bool {
	return p.head == o.head && p.when == o.when && p.chosen == o.chosen && p.line == o.line &&
		!p.binds() && !o.binds()
}

// group are the words that a group of tasks like this one begins with, as
// adding.lua reads them, up to how many.
func (p prepared) group(n int) []any {
	chosen := ""
	if p.chosen {
		chosen = "1"
	}
	return []any{p.line, chosen, p.when, p.head, p.unique, p.lasting, p.after, n}
}

// appendGroups writes a batch in groups of tasks that are alike and follow each other.
func appendGroups(args []any, batch []*submission) []any {
	var last prepared
	count, countAt := 0, -1
	for _, s := range batch {
		for _, p := range s.tasks {
			if countAt < 0 || !p.alike(last) {
				args = append(args, p.group(0)...)
				countAt, count = len(args)-1, 0
				last = p
			}
			count++
			args[countAt] = count
			args = append(args, p.id, p.tail)
		}
	}
	return args
}
