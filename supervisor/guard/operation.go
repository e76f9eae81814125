package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/timeline"
)

// Begin begins an operation that replaces the children one after the other, of a kind of those of package
// builtin. It goes on when Begin has returned; its end is logged, and told to the children. by says
// who asked. The error is a [*supervisor.BusyError] or supervisor.ErrNotRunning, and no operation has begun.
func (g *Guardian) Begin(kind, by string) error {
	do, known := map[string]func(context.Context) error{
		builtin.OperationRoll: g.roll, builtin.OperationReload: g.reload, builtin.OperationUpgrade: g.upgrade,
	}[kind]
	if !known {
		return fmt.Errorf("%s: the guardian has no such operation", kind)
	}
	ctx, err := g.beginOperation(kind, by)
	if err != nil {
		return err
	}
	g.log.Info().Str("by", by).Int("processes", len(g.slots)).Msg(kind + " begins")
	g.tellOperation()
	go func() {
		defer g.operations.Done()
		g.endOperation(do(ctx))
	}()
	return nil
}

// beginOperation records the beginning of an operation, which ends with the context.
func (g *Guardian) beginOperation(kind, by string) (context.Context, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.serving == nil || g.serving.Err() != nil {
		return nil, supervisor.ErrNotRunning
	}
	if o := g.operation; o.Number > 0 && !o.Ended {
		return nil, &supervisor.BusyError{Kind: o.Kind, Since: o.Began}
	}
	g.operations.Add(1)
	g.by = by
	g.operation = builtin.Operation{Number: g.operation.Number + 1, Kind: kind, Began: time.Now(), Total: len(g.slots)}
	return g.serving, nil
}

// endOperation records and logs the end of the operation.
func (g *Guardian) endOperation(err error) {
	g.updateOperation(func(o *builtin.Operation) {
		o.Ended = true
		took := time.Since(o.Began).Round(time.Millisecond)
		told := timeline.Event{
			Kind: timeline.Kind(o.Kind), Text: link.Count(o.Done, "process", "processes"), Took: took.Milliseconds(), By: g.by,
		}
		defer func() { g.record(told) }()
		if err == nil {
			o.Node = ""
			g.log.Info().Int("processes", o.Done).Stringer("after", took).Msg(o.Kind + " is done")
			return
		}
		err = fmt.Errorf("%s ended after %d of %s: %w", o.Kind, o.Done, link.Count(o.Total, "process", "processes"), err)
		o.Error = err.Error()
		told.Text = err.Error()
		g.log.Error().Err(err).Stringer("after", took).Msg(o.Kind + " has failed")
	})
}

// updateOperation changes the record of the operation, and tells it to the children.
func (g *Guardian) updateOperation(change func(*builtin.Operation)) {
	g.mu.Lock()
	change(&g.operation)
	g.mu.Unlock()
	g.tellOperation()
}

// Operation returns the present or last operation; its number is 0 before the first.
func (g *Guardian) Operation() builtin.Operation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.operation
}

// tellOperation tells the children of the operation, so that commands can ask them.
func (g *Guardian) tellOperation() {
	g.telling.Lock() // the last word is the latest
	defer g.telling.Unlock()
	o := g.Operation()
	for _, s := range g.slots {
		if l := s.present(); l != nil {
			_ = l.pipe.write(message{Operation: &o})
		}
	}
}

// roll replaces the children one after the other.
func (g *Guardian) roll(ctx context.Context) error {
	for _, s := range g.slots {
		if err := g.step(ctx, s, g.cfg.ownPath()); err != nil && !errors.Is(err, errGone) {
			return err // one that is gone meanwhile starts anew by itself
		}
		g.updateOperation(func(o *builtin.Operation) { o.Done++ })
	}
	return nil
}

// step replaces a child when all of them are ready.
func (g *Guardian) step(ctx context.Context, s *slot, path string) error {
	if _, retired := s.state(); retired {
		return nil
	}
	name := fmt.Sprintf("process %d", s.number)
	g.updateOperation(func(o *builtin.Operation) { o.Node = name })
	if err := g.awaitReady(ctx); err != nil {
		return fmt.Errorf("before %s: %w", name, err)
	}
	err := s.replace(ctx, s.present(), path)
	switch {
	case err == nil || errors.Is(err, errGone):
		return err
	case ctx.Err() != nil:
		return supervisor.ErrNotRunning
	default:
		return fmt.Errorf("%s: %w: the one before it goes on", name, err)
	}
}

// awaitReady waits until all nodes of all children run.
func (g *Guardian) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.cfg.ReadyTime, fmt.Errorf("%w within %s", supervisor.ErrNotBack, g.cfg.ReadyTime))
	defer cancel()
	return g.AwaitReady(ctx)
}

// reload restarts all nodes of all children at once.
func (g *Guardian) reload(ctx context.Context) error {
	if err := g.Order(ctx, Reload); err != nil {
		return err
	}
	g.updateOperation(func(o *builtin.Operation) { o.Done = o.Total })
	return nil
}

// orderTime is how long the children may take to answer an order of which a child waits for the end.
const orderTime = askTime - time.Second

// asked answers a child of which somebody has asked what is the guardian's to do.
func (g *Guardian) asked(l *life, what Order) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), orderTime, //nolint:forbidigo // a message has no context
		fmt.Errorf("a process has not answered within %s: what has begun goes on", orderTime))
	defer cancel()
	d, err := &done{Number: what.Number}, error(nil)
	switch what.What {
	case askStatus:
		d.Set = new(g.sum())
	case Quiet, Resume:
		err = g.Order(ctx, what.What)
	case Scale:
		err = g.Scale(ctx, what.Workers)
	default:
		err = g.Begin(what.What, fmt.Sprintf("a command to process %d", l.slot.number))
	}
	if err != nil {
		d.Error, d.Code = err.Error(), builtin.SetCode(err)
	}
	_ = l.pipe.write(message{Told: d})
}
