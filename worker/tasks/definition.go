package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// DefaultQueue is where tasks go whose definition names no queue.
const DefaultQueue = "default"

// Defaults of a [Definition].
const (
	DefaultMaxAttempts = 25
	DefaultBackoff     = time.Second
	DefaultMaxBackoff  = time.Hour
)

// Definition says how tasks of one name are treated. Every zero value has a default.
type Definition struct {
	// Name of the task: 1 to 200 letters, digits and . _ : -. Required.
	Name string
	// LimitQueue it waits in. Default [DefaultQueue].
	Queue string
	// MaxAttempts is how often the handler may fail before the task is dead.
	// Default [DefaultMaxAttempts].
	MaxAttempts int
	// Backoff is the pause after the first failure; it doubles with each
	// further one up to MaxBackoff, with jitter between half and all of it.
	// Default [DefaultBackoff] and [DefaultMaxBackoff].
	Backoff, MaxBackoff time.Duration
	// Timeout after which the handler's context ends. A handler that returns an
	// error then has failed; one that returns nil all the same has done its work.
	// Default none.
	Timeout time.Duration
	// Retention is how long a completed task and its result are remembered.
	// Default not at all.
	Retention time.Duration
}

func (d Definition) withDefaults() Definition {
	if d.Queue == "" {
		d.Queue = DefaultQueue
	}
	if d.MaxAttempts == 0 {
		d.MaxAttempts = DefaultMaxAttempts
	}
	if d.Backoff == 0 {
		d.Backoff = DefaultBackoff
	}
	if d.MaxBackoff == 0 {
		d.MaxBackoff = max(DefaultMaxBackoff, d.Backoff)
	}
	return d
}

// ErrName is returned for names of tasks and queues and for ids that Redis keys
// and records cannot hold.
var ErrName = errors.New("use 1 to 200 letters, digits and . _ : -")

func checkName(what, name string) error {
	if !link.ValidName(name) {
		return fmt.Errorf("%s %.220q: %w", what, name, ErrName)
	}
	return nil
}

func (d Definition) validate() error {
	var errs []error
	errs = append(errs, checkName("task name", d.Name), checkName("queue", d.Queue))
	if d.MaxAttempts < 0 || d.Backoff < 0 || d.MaxBackoff < 0 || d.Timeout < 0 || d.Retention < 0 {
		errs = append(errs, fmt.Errorf("task %s: MaxAttempts, Backoff, MaxBackoff, Timeout and Retention cannot be negative", d.Name))
	}
	return errors.Join(errs...)
}

// Handler runs one task. Its payload is the JSON that was enqueued.
type Handler func(ctx context.Context, payload json.RawMessage) error

// Registrar collects what an app handles; worker.App is one.
type Registrar interface {
	RegisterTask(d Definition, h Handler)
}

// Handle registers a task whose payload is decoded into In.
//
// The handler's error means "try again later", up to MaxAttempts; a payload that
// does not decode is dead at once. The context ends at the timeout, and when the
// node ends: then the task goes back to its queue without a count.
func Handle[In any](r Registrar, d Definition, h func(ctx context.Context, in In) error) {
	r.RegisterTask(d, func(ctx context.Context, payload json.RawMessage) error {
		var in In
		if err := json.Unmarshal(payload, &in); err != nil {
			return Discard(fmt.Errorf("payload does not fit %T: %w", in, err))
		}
		return h(ctx, in)
	})
}

// HandleResult is [Handle] for a handler that returns the task's result, which
// [Client.Result], [Client.Wait] and [WaitFor] return. It is kept for the task's
// retention; without one, only callers that wait already get it.
func HandleResult[In, Out any](r Registrar, d Definition, h func(ctx context.Context, in In) (Out, error)) {
	Handle(r, d, func(ctx context.Context, in In) error {
		out, err := h(ctx, in)
		if err == nil {
			Tx(ctx).Result(out)
		}
		return err
	})
}

// Registry is what the nodes of one app handle. The zero value handles nothing.
type Registry struct {
	tasks      map[string]registered
	periodic   []Periodic
	limits     map[string]Limits
	middleware []Middleware
	enqueue    []EnqueueMiddleware
	errs       []error
}

type registered struct {
	Definition
	handle Handler
}

// Middleware wraps the handlers of all tasks; [InfoOf] tells which task it is.
type Middleware func(next Handler) Handler

// Use adds middleware around the handlers of all tasks, those registered before
// included. The first one added is the outermost.
func (r *Registry) Use(m Middleware) { r.middleware = append(r.middleware, m) }

// Handler returns a task's handler with the middleware around it, or nil.
func (r *Registry) Handler(name string) Handler {
	h := r.tasks[name].handle
	if h == nil {
		return nil
	}
	for _, m := range slices.Backward(r.middleware) {
		h = m(h)
	}
	return h
}

// RegisterTask implements [Registrar]. What is wrong is reported by [Registry.Err].
func (r *Registry) RegisterTask(d Definition, h Handler) {
	d = d.withDefaults()
	if err := d.validate(); err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if _, twice := r.tasks[d.Name]; twice {
		r.errs = append(r.errs, fmt.Errorf("task %s: registered twice", d.Name))
		return
	}
	if r.tasks == nil {
		r.tasks = map[string]registered{}
	}
	r.tasks[d.Name] = registered{Definition: d, handle: h}
}

// LimitQueue sets limits of a queue over the whole cluster. Every process of the app
// writes them to Redis again when they are not there; an operator's win.
func (r *Registry) LimitQueue(name string, l Limits) {
	if err := l.validate(name); err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if r.limits == nil {
		r.limits = map[string]Limits{}
	}
	r.limits[name] = l
}

// Limits returns the limits of queues.
func (r *Registry) Limits() map[string]Limits { return maps.Clone(r.limits) }

// Err returns everything that was wrong with the registrations.
func (r *Registry) Err() error { return errors.Join(r.errs...) }

// Names lists the tasks in alphabetical order.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.tasks)) }

// Queues lists the queues of the tasks in alphabetical order, the default one included.
func (r *Registry) Queues() []string {
	queues := map[string]struct{}{DefaultQueue: {}}
	for _, t := range r.tasks {
		queues[t.Queue] = struct{}{}
	}
	return slices.Sorted(maps.Keys(queues))
}

// Definition returns the definition of a task, if the app handles it.
func (r *Registry) Definition(name string) (Definition, bool) {
	t, ok := r.tasks[name]
	return t.Definition, ok
}
