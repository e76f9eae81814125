package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// batch is the submissions that one script call stores: a single part that must follow
// the previous part of its call, or any number of independent submissions.
type batch struct {
	number uint64
	parts  []*submission
	ended  chan struct{}
	over   bool // the batch has ended; guarded by Producer.mu
	since  time.Time
}

// send sends a batch, with retries, until Redis has answered or all callers gave up.
// Then it passes the outcome to the callers.
func (p *Producer) send(b *batch) {
	ctx, cancel := p.patience(b.parts)
	defer cancel()
	unsure := false // an earlier try may have been stored
	broken := 0     // tries in a row that Redis broke off although it answers
	for n := 1; ; n++ {
		others, behind := p.others(b)
		if err := b.predecessorErr(); err != nil { // after others: a predecessor that others does not list has ended
			b.finish(nil, err)
			return
		}
		refused, err := p.try(ctx, b, others, behind)
		if err == nil {
			if n > link.FewTries {
				p.Reports.Works(enqueues)
			}
			b.finish(refused, nil)
			return
		}
		if isEarly(err) {
			if await(ctx, behind) {
				continue
			}
			err = errEarly
		}
		if _, is := errors.AsType[*link.WrongTypeError](err); is && len(b.parts) > 1 {
			p.sendApart(b)
			return
		}
		unsure = unsure || link.OutcomeOf(err) == link.Unknown
		if broken = p.brokenOff(ctx, b, broken, err); broken == link.FewTries {
			b.finish(nil, p.failure(ctx, &UnsentError{b.bytes(), err}, unsure))
			return
		}
		if n >= link.FewTries {
			p.Reports.Failed(enqueues, err)
		}
		if repeatable(err) && b.wanted() && link.Sleep(ctx, link.Pause(n)) == nil {
			continue
		}
		p.Reports.Ended(enqueues)
		b.finish(nil, p.failure(ctx, link.Explain(err), unsure))
		return
	}
}

// sendApart sends the parts of a batch that Redis has refused because of an alien key, each as
// a batch of its own: only those that need that key fail.
func (p *Producer) sendApart(b *batch) {
	for _, s := range b.parts {
		p.mu.Lock()
		alone := p.number(&batch{ended: make(chan struct{}), parts: []*submission{s}})
		s.in = alone
		p.mu.Unlock()
		p.send(alone)
		p.mu.Lock()
		p.over(alone)
		p.mu.Unlock()
	}
}

// enqueues names the producer's work in reports.
const enqueues = "enqueues"

// brokenOff counts, from n on, the tries in a row that Redis broke off although it answers.
// Only a batch of one caller may be larger than Redis takes.
func (p *Producer) brokenOff(ctx context.Context, b *batch, n int, err error) int {
	if b.bytes() <= maxBatchBytes || !brokenOff(err) || p.redis.Ping(ctx).Err() != nil {
		return 0
	}
	return n + 1
}

// bytes returns the size of the batch's payloads.
func (b *batch) bytes() int {
	n := 0
	for _, s := range b.parts {
		n += s.bytes
	}
	return n
}

// repeatable reports whether it makes sense to send the batch again after err: the
// script may not have run, and Redis is not out of memory.
func repeatable(err error) bool {
	return link.OutcomeOf(err) != link.Ran && !errors.Is(link.Explain(err), link.ErrFull)
}

// failure returns the error for the callers of a batch that ended with err; unsure
// means that a try may have been stored, or may still be on its way.
func (p *Producer) failure(ctx context.Context, err error, unsure bool) error {
	if err == nil {
		return nil
	}
	if !unsure && errors.Is(err, link.ErrUnavailable) && p.ctx.Err() == nil && link.Cancelled(ctx) != nil {
		return link.GaveUp(ctx, err)
	}
	if unsent, is := errors.AsType[*UnsentError](err); is && unsure {
		err = fmt.Errorf("%w: %w", link.ErrUnknownOutcome, unsent)
	}
	if unsure && !errors.Is(err, link.ErrUnknownOutcome) {
		err = fmt.Errorf("%w: %v", link.ErrUnknownOutcome, err) //nolint:errorlint // which says that nothing is stored
	}
	if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}

// others returns the batches in flight that have a smaller number than b, and the batch
// of b's predecessor, which Redis must store first, or nil if that batch has ended.
func (p *Producer) others(b *batch) (open []*batch, behind *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.flying {
		if other.number < b.number {
			open = append(open, other)
		}
	}
	if first := b.parts[0].behind; first != nil && !first.in.over {
		behind = first.in
	}
	return open, behind
}

// predecessorErr returns the error of the previous part of the same call, or nil if that
// part was stored or is in flight. Redis stores a part only after its predecessor, so
// the batch fails with the same error.
func (b *batch) predecessorErr() error {
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

// errEarly is the error of a batch whose predecessor did not end in time.
var errEarly = fmt.Errorf("%w: it has not answered those who were first", link.ErrUnavailable)

// isEarly reports whether Redis refused a batch because its predecessor is not stored yet.
func isEarly(err error) bool { return link.WordOf(err) == "EARLY" }

// try sends a batch once. others are the earlier batches in flight, whose numbers Redis
// must go on accepting; behind, if not nil, is the one of others that must be stored
// first. refused holds the codes of tasks that were not stored, by position from 1.
func (p *Producer) try(ctx context.Context, b *batch, others []*batch, behind *batch) (refused map[int]string, err error) {
	numbering := p.numbering(b, others, behind)
	if kind, now := p.bulk(b); kind != nil {
		refused, err := p.tryReady(ctx, numbering, b, kind, now)
		if !isOther(err) {
			return refused, err
		}
		p.clock.Store(&Clock{local: time.Now()}) // it is not tried again for clockAge
	}
	args := appendGroups(numbering, b.parts)
	reply, err := callWith(ctx, scriptFor(b.parts), p.redis, p.keys, bodiesOf(b.parts), args)
	if err != nil {
		return nil, err
	}
	ends, reply := takeEnds(reply)
	report(p.OnEnd, ends)
	return reply.Refusals()
}

// numbering returns the arguments with which the scripts that store a batch begin. See try.
func (p *Producer) numbering(b *batch, others []*batch, behind *batch) []any {
	number := func(b *batch) string { return strconv.FormatUint(b.number, 10) }
	open, first := make([]string, len(others)), ""
	for i, other := range others {
		open[i] = number(other)
	}
	if behind != nil {
		first = number(behind)
	}
	return []any{p.name, number(b), strings.Join(open, " "), first, producerMemory.Milliseconds()}
}

// await waits until the predecessor's batch has ended. It returns false when ctx ends first.
func await(ctx context.Context, behind *batch) bool {
	select {
	case <-behind.ended:
		return true
	case <-ctx.Done():
		return false
	}
}

// patience returns the context under which a batch is sent. A batch of one call ends with
// the call's context, and with its caller. A batch of several calls has the latest of their
// deadlines, or none if a call has none.
func (p *Producer) patience(batch []*submission) (context.Context, context.CancelFunc) {
	if len(batch) == 1 {
		s := batch[0]
		if s.ctx.Done() == nil {
			return s.caller.ctx, func() {}
		}
		ctx, cancel := context.WithCancel(s.ctx)
		stop := context.AfterFunc(s.caller.ctx, cancel)
		return ctx, func() { stop(); cancel() }
	}
	var latest time.Time
	for _, s := range batch {
		deadline, has := s.ctx.Deadline()
		if !has {
			return p.ctx, func() {}
		}
		if deadline.After(latest) {
			latest = deadline
		}
	}
	return context.WithDeadline(p.ctx, latest)
}

// wanted reports whether any caller still waits for the batch.
func (b *batch) wanted() bool {
	for _, s := range b.parts {
		if !s.gone() {
			return true
		}
	}
	return false
}

// finish passes the outcome of the batch to its callers. refused holds the codes of tasks
// that were not stored, by position in the batch from 1.
func (b *batch) finish(refused map[int]string, err error) {
	at := 0
	for _, s := range b.parts {
		for i := range s.tasks {
			at++
			if code, is := refused[at]; is {
				if s.refused == nil {
					s.refused = map[int]string{}
				}
				s.refused[i] = code
			}
		}
		s.finish(err)
	}
}
