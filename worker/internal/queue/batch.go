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

// batch is what goes to Redis in one script: a part that is behind another alone,
// or any number of callers' tasks.
type batch struct {
	number uint64
	parts  []*submission
	ended  chan struct{}
	over   bool // ended; under Producer.mu
}

// send sends one batch until its outcome is known or no caller waits for it.
func (p *Producer) send(b *batch) {
	ctx, cancel := p.patience(b.parts)
	defer cancel()
	unsure := false // whether a try was stored
	for n := 1; ; n++ {
		others, behind := p.others(b)
		if err := b.predecessorErr(); err != nil { // asked after others: a batch that is not among them has ended
			b.finish(nil, err)
			return
		}
		refused, err := p.try(ctx, b, others, behind)
		if err == nil {
			b.finish(refused, nil)
			return
		}
		if isEarly(err) {
			if await(ctx, behind) {
				continue
			}
			err = errEarly
		}
		unsure = unsure || link.OutcomeOf(err) == link.Unknown
		if repeatable(err) && b.wanted() && link.Sleep(ctx, link.Pause(n)) == nil {
			continue
		}
		b.finish(nil, p.failure(ctx, link.Explain(err), unsure))
		return
	}
}

// repeatable reports whether a batch that ended with err may be stored by another try.
func repeatable(err error) bool {
	return link.OutcomeOf(err) != link.Ran && !errors.Is(link.Explain(err), link.ErrFull)
}

// failure returns the error for the callers of a batch that ended with err; unsure
// means that a try may have been stored, or may still be on its way.
func (p *Producer) failure(ctx context.Context, err error, unsure bool) error {
	if err == nil {
		return nil
	}
	if unsure && !errors.Is(err, link.ErrUnknownOutcome) {
		err = fmt.Errorf("%w: %v", link.ErrUnknownOutcome, err) //nolint:errorlint // which says that nothing is stored
	}
	if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	if p.ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", p.closed, err)
	}
	return err
}

// others returns the earlier batches that are on their way, and the one of them
// that has to be stored before this one, if any.
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

// predecessorErr returns the error of the previous part of the same call, if it has
// ended with one: Redis stores a part only behind its predecessor, so this one fails
// with it.
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

// errEarly is the error of a batch that waited in vain for the one before it.
var errEarly = fmt.Errorf("%w: it has not answered those who were first", link.ErrUnavailable)

// isEarly reports whether Redis refused a batch because the one that must be stored
// before it is not.
func isEarly(err error) bool { return link.WordOf(err) == "EARLY" }

// try sends a batch once. others are the batches that Redis has to remember beside
// it; behind, if any, is one of them and must be stored before it.
func (p *Producer) try(ctx context.Context, b *batch, others []*batch, behind *batch) (refused map[int]string, err error) {
	number := func(b *batch) string { return strconv.FormatUint(b.number, 10) }
	open, first := make([]string, len(others)), ""
	for i, other := range others {
		open[i] = number(other)
	}
	if behind != nil {
		first = number(behind)
	}
	args := appendGroups([]any{p.name, number(b), strings.Join(open, " "), first, producerMemory.Milliseconds()}, b.parts)
	reply, err := scriptFor(b.parts).Call(ctx, p.redis, []string{p.keys.Tasks()}, args...)
	if err != nil {
		return nil, err
	}
	ends, reply := takeEnds(reply)
	report(p.OnEnd, ends)
	return reply.Refusals()
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
func (p *Producer) patience(batch []*submission) (context.Context, context.CancelFunc) {
	if len(batch) == 1 && batch[0].ctx.Done() != nil {
		ctx, cancel := context.WithCancel(batch[0].ctx)
		stop := context.AfterFunc(p.ctx, cancel)
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
		if s.ctx.Err() == nil {
			return true
		}
	}
	return false
}

// finish notes what became of the tasks, and tells their callers.
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
