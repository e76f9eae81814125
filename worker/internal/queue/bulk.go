package queue

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// leastBulk is how many tasks a batch has that goes through lua/bulk.lua: for fewer it is
	// not worth a second request where there is something that this script leaves to others.
	leastBulk = 100
	// bulkParts is how many parts a call has that learns Redis's clock for them.
	bulkParts = 3
	// clockAge is after how long that clock is read again, and another try is made after
	// lua/bulk.lua left a batch to others. Clocks do not drift by a millisecond until then.
	clockAge = 5 * time.Second
)

// learnClock has Redis's clock read for the batches of a large call, unless that was just done,
// and waits for it until the call or its caller ends.
func (c *Caller) learnClock(ctx context.Context) {
	p := c.producer
	if clock := p.clock.Load(); clock != nil && time.Since(clock.local) < clockAge {
		return
	}
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		return
	}
	p.active.Add(1)
	p.mu.Unlock()
	learned := make(chan struct{})
	go func() {
		defer p.active.Done()
		defer close(learned)
		p.readClock()
	}()
	select {
	case <-learned:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}

// readClock reads Redis's clock. If that fails, batches get their time from Redis.
func (p *Producer) readClock() {
	began := time.Now()
	reply, err := clockScript.Call(p.ctx, p.redis, p.keys.TaskKeys())
	var ms int64
	if err == nil {
		err = reply.Scan(&ms)
	}
	if err == nil {
		local := time.Now()
		p.clock.Store(&Clock{TimeOf(ms), began.Add(local.Sub(began) / 2)})
	}
}

// bulk returns the kind of a batch's tasks and Redis's time for their records, or nil if they
// cannot, or need not, go through lua/bulk.lua.
func (p *Producer) bulk(b *batch) (*Kind, time.Time) {
	clock := p.clock.Load()
	if clock == nil || clock.redis.IsZero() || time.Since(clock.local) > 2*clockAge {
		return nil, time.Time{}
	}
	n := 0
	for _, s := range b.parts {
		n += len(s.tasks)
	}
	if n < leastBulk || n > MaxBatch {
		return nil, time.Time{}
	}
	return plainKind(b), clock.Now()
}

// plainKind returns the kind of a batch's tasks if they have the same and are plain (see
// lua/plain.lua), or nil.
func plainKind(b *batch) *Kind {
	first := b.parts[0].tasks[0]
	if first.chosen || first.awaited || first.when != "" || first.deadline != "" || first.grouped() {
		return nil
	}
	for _, s := range b.parts {
		for i := range s.tasks {
			if !s.tasks[i].alike(first) {
				return nil
			}
		}
	}
	return first.Kind
}

// appendReady appends a batch to args as lua/bulk.lua reads it.
func appendReady(args []any, b *batch, k *Kind, now time.Time) []any {
	ms := now.UnixMilli()
	head := k.head + strconv.FormatInt(ms, 16)
	size, n := 0, 0
	for _, s := range b.parts {
		n += len(s.tasks)
		for i := range s.tasks {
			size += len(head) + len(s.tasks[i].tail)
		}
	}
	var text strings.Builder // in one allocation
	text.Grow(size)
	records := make([]string, 0, n)
	args = append(slices.Grow(args, 2+2*n), k.line, ms)
	for _, s := range b.parts {
		for i := range s.tasks {
			from := text.Len()
			text.WriteString(head)
			text.WriteString(s.tasks[i].tail)
			records = append(records, text.String()[from:])
			args = append(args, &s.tasks[i].ID, &records[len(records)-1]) // pointers need no allocation
		}
	}
	return args
}

// tryReady sends a batch of plain tasks once, with ready records; see [Producer.numbering].
// The error isOther if Redis did nothing.
func (p *Producer) tryReady(ctx context.Context, numbering []any, b *batch, k *Kind, now time.Time) (refused map[int]string, err error) {
	reply, err := bulkScript.Call(ctx, p.redis, p.keys.TaskKeys(), appendReady(numbering, b, k, now)...)
	if err != nil {
		return nil, err
	}
	return reply.Refusals()
}
