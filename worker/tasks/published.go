package tasks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// refreshInterval is how often a client reads the published definitions again.
const refreshInterval = 10 * time.Second

// published has the definitions that programs have published, as a client knows them that
// has none of its own. From the first use on it reads them again every [refreshInterval].
type published struct {
	store queue.Store
	known atomic.Pointer[answer]
	turn  chan struct{} // has capacity 1; an element means that the definitions are being read

	mu      sync.Mutex
	started bool // the goroutine that reads them again, or close was called
	served  sync.WaitGroup

	unreadable sync.Once // logs that Redis has no definitions that can be read
}

// answer is what Redis last answered.
type answer struct {
	definitions map[string]queue.Published
	word        string    // see [queue.Store.Definitions]
	asked       time.Time // when the request began
}

func newPublished(s queue.Store) *published {
	return &published{store: s, turn: make(chan struct{}, 1)}
}

// get returns a published definition, as far as the client knows.
func (p *published) get(name string) (Definition, bool) {
	a := p.known.Load()
	if a == nil {
		return Definition{}, false
	}
	d, known := a.definitions[name]
	return fromPublished(name, d), known
}

func fromPublished(name string, d queue.Published) Definition {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return Definition{
		Name: name, Queue: d.Queue, MaxAttempts: d.MaxAttempts, Backoff: ms(d.Backoff), MaxBackoff: ms(d.MaxBackoff),
		Timeout: ms(d.Timeout), Retention: ms(d.Retention), OnDead: d.OnDead,
	}
}

// refresh reads the definitions, unless another call has begun to read them after since.
// While Redis is not available it waits until ctx ends.
func (p *published) refresh(ctx context.Context, since time.Time) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return link.GaveUp(ctx, nil)
	}
	a := answer{asked: time.Now()}
	last := p.known.Load()
	if last != nil {
		if last.asked.After(since) {
			return nil
		}
		a.definitions, a.word = last.definitions, last.word
	}
	err := p.store.Reports.Retry(ctx, "definitions", func(ctx context.Context) error {
		all, word, err := p.store.Definitions(ctx, a.word)
		if err == nil && all != nil {
			a.definitions, a.word = all, word
		}
		return err
	})
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return link.GaveUp(ctx, err)
		}
		if link.OutcomeOf(err) == link.Ran {
			return link.Explain(err)
		}
		return link.NotSent(err)
	}
	p.known.Store(&a)
	return nil
}

// serve reads the definitions again every [refreshInterval] until ctx ends. After a failure
// the client goes on with those that it knows.
func (p *published) serve(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started {
		return
	}
	p.started = true
	p.served.Go(func() {
		for link.Sleep(ctx, refreshInterval) == nil {
			_ = p.refresh(ctx, time.Now())
		}
	})
}

// close waits for the goroutine of serve, whose context has ended.
func (p *published) close() {
	p.mu.Lock()
	p.started = true
	p.mu.Unlock()
	p.served.Wait()
}

// learn reads the published definitions if a task among requests is not defined yet as far
// as the client knows.
func (c *Client) learn(ctx context.Context, requests []Request) error {
	if c.published == nil {
		return nil
	}
	if _, err := count(requests, 0); err != nil || !c.unknown(requests) {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	stay := context.AfterFunc(c.closed, stop)
	defer stay()
	err := c.published.refresh(reading, time.Now())
	switch {
	case err == nil:
		c.published.serve(c.closed)
		return nil
	case c.closed.Err() != nil:
		return fmt.Errorf("enqueue %s: %w", requests[0].Name, ErrClosed)
	case link.OutcomeOf(err) == link.Ran && !c.refuses(requests): // such as a key of a wrong type
		c.published.unreadable.Do(func() {
			c.log.Warn().Err(err).Msg("the definitions of tasks cannot be read: tasks that this program has not defined get default settings")
		})
		return nil
	default:
		return fmt.Errorf("enqueue %s: the definitions of tasks: %w", requests[0].Name, err)
	}
}

// unknown reports whether a task has to be looked up. One that is stored whatever its name
// is looked up only once, before the first answer.
func (c *Client) unknown(requests []Request) bool {
	for i := range requests {
		r := &requests[i]
		_, known := c.definitionOf(r.Name, &r.Options)
		if !known && c.published.known.Load() == nil || c.unknown(r.Then) {
			return true
		}
	}
	return c.refuses(requests)
}

// refuses reports whether the client does not store a task, as far as it knows, because of
// its name.
func (c *Client) refuses(requests []Request) bool {
	for i := range requests {
		r := &requests[i]
		_, known := c.definitionOf(r.Name, &r.Options)
		if !known && c.strict && !r.AnyName || c.refuses(r.Then) {
			return true
		}
	}
	return false
}

// definitionOf returns how the tasks of a name are treated, and whether the client knows:
// from its registry, the options or what programs have published.
func (c *Client) definitionOf(name string, o *Options) (Definition, bool) {
	if d, known := c.registry.Definition(name); known {
		return d, true
	}
	if o.definition != nil {
		return *o.definition, true
	}
	if c.published != nil {
		return c.published.get(name)
	}
	return Definition{}, false
}

// warnUndefined logs once for each name that a task is stored which the client does not know.
func (c *Client) warnUndefined(name, queue string) {
	const most = 1000 // names: callers of other programs may choose them
	c.mu.Lock()
	_, again := c.warned[name]
	if again = again || len(c.warned) >= most; !again {
		c.warned[name] = struct{}{}
	}
	c.mu.Unlock()
	if !again {
		c.log.Warn().Str("name", name).Str("queue", queue).
			Msg("a task is enqueued that this program has not defined: it waits in this queue, with default settings")
	}
}

// Known is a definition that a program has published.
type Known struct {
	Definition

	Version string // of the program
}

// Definitions returns the definitions that programs have published, by name. A node's program
// publishes those of its app; they are kept for 30 days after the last such node has ended.
func (i *Inspector) Definitions(ctx context.Context) ([]Known, error) {
	all, _, err := i.store.Definitions(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("definitions of tasks: %w", err)
	}
	known := make([]Known, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		known = append(known, Known{fromPublished(name, all[name]), all[name].Version})
	}
	return known, nil
}
