package runner

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Publisher keeps the definitions of an app's tasks on Redis, where programs that only
// enqueue find them. Every process has a publisher.
type Publisher struct {
	store       queue.Store
	publication queue.Publication
	logged      map[string]queue.Published // by the name of the task, the last difference that was logged
	log         zerolog.Logger
	// Reports logs failures of Redis; set it before Serve. Default: the publisher's own reports.
	Reports *link.Reports
}

// NewPublisher returns a publisher of the definitions in a registry. version is the program's.
func NewPublisher(c redis.UniversalClient, k link.Keys, r *tasks.Registry, version string, log zerolog.Logger) *Publisher {
	p := &Publisher{
		store: queue.NewStore(c, k), log: log, Reports: link.NewReports(log), logged: map[string]queue.Published{},
		publication: queue.Publication{Version: version, Definitions: map[string]queue.Definition{}},
	}
	for _, name := range r.Names() {
		d, _ := r.Definition(name)
		p.publication.Definitions[name] = queue.Definition{
			Queue: d.Queue, MaxAttempts: d.MaxAttempts, Timeout: queue.Milliseconds(d.Timeout), Retention: queue.Milliseconds(d.Retention),
			Backoff: queue.Milliseconds(d.Backoff), MaxBackoff: queue.Milliseconds(d.MaxBackoff), OnDead: d.OnDead,
		}
	}
	return p
}

// Publish publishes the definitions, or repeats them. It logs each difference from the
// definitions of other processes once.
func (p *Publisher) Publish(ctx context.Context) error {
	if len(p.publication.Definitions) == 0 {
		return nil
	}
	others, err := p.store.Define(ctx, &p.publication)
	if err != nil {
		return fmt.Errorf("publish definitions of tasks: %w", err)
	}
	for _, o := range others {
		if p.logged[o.Name] != o.Published {
			p.logged[o.Name] = o.Published
			p.logDifference(o)
		}
	}
	return nil
}

// logDifference logs that another process defines a task differently.
func (p *Publisher) logDifference(o queue.Difference) {
	level, which := zerolog.WarnLevel, "that of the newer process counts"
	if o.Replaced {
		level, which = zerolog.InfoLevel, "this process's counts now"
	}
	p.log.WithLevel(level).Str("name", o.Name).Str("other version", o.Version).Any("other", o.Definition).
		Any("own", p.publication.Definitions[o.Name]).
		Msg("two definitions of a task differ: for programs that only enqueue it, " + which)
}

// Serve repeats the definitions until ctx ends, and returns ctx's cause.
func (p *Publisher) Serve(ctx context.Context) error {
	defer p.Reports.Ended("definitions")
	for failures := 0; ctx.Err() == nil; {
		err, wait := p.Publish(ctx), queue.DefinitionInterval
		if ctx.Err() == nil {
			p.Reports.Failed("definitions", err)
		}
		if err != nil {
			failures++
			wait = link.Pause(failures)
		} else {
			failures = 0
		}
		_ = link.Sleep(ctx, wait)
	}
	return context.Cause(ctx)
}
