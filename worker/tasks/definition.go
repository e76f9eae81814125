package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// DefaultQueue is the queue of tasks whose definition names no queue.
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
	// Queue is the queue in which the task waits. Default [DefaultQueue].
	Queue string
	// MaxAttempts is how often the handler may fail before the task is dead.
	// Default [DefaultMaxAttempts].
	MaxAttempts int
	// Backoff is the pause after the first failure; it doubles with each
	// further one up to MaxBackoff, with jitter between half and all of it.
	// Default [DefaultBackoff] and [DefaultMaxBackoff].
	Backoff, MaxBackoff time.Duration
	// Timeout is the time after which the handler's context ends. A handler that
	// then returns an error has failed; if it returns nil, the task is done.
	// Default none.
	Timeout time.Duration
	// Retention is how long a completed task and its result are remembered, and up to
	// 1/64 longer: tasks that end at about the same time are forgotten together.
	// Default 0: the task is forgotten when it is done.
	Retention time.Duration
	// OnDead is the name of a task, handled with [OnDead], of which one is enqueued whenever
	// a task of this definition is dead. The app has to handle it, or else OnDeadElsewhere says that
	// another program does. Default none.
	OnDead          string
	OnDeadElsewhere bool
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

// ErrName is returned for invalid names of tasks and queues, and for invalid ids.
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
	if d.OnDead != "" {
		errs = append(errs, checkName("OnDead", d.OnDead))
	}
	if d.OnDead == "" && d.OnDeadElsewhere {
		errs = append(errs, fmt.Errorf("task %s: OnDeadElsewhere without OnDead", d.Name))
	}
	if d.OnDead != "" && d.OnDead == d.Name {
		errs = append(errs, fmt.Errorf("task %s: OnDead must be another task", d.Name))
	}
	return errors.Join(errs...)
}

// Handler runs one task. The payload is the JSON that was enqueued, or for a batch the array of its tasks'
// payloads. An error means that the run failed; see [Handle] and [HandleBatch].
type Handler func(ctx context.Context, payload json.RawMessage) error

// Registrar registers the handlers of an app. worker.App implements it.
type Registrar interface {
	RegisterTask(d Definition, h Handler)
	RegisterBatch(d Definition, b Batch, h Handler)
}

// Handle registers a task whose payload is decoded into In.
//
// When the handler returns an error, the task is tried again after a pause, up to
// MaxAttempts times in all. So is a task whose payload does not decode ([ErrPayload]):
// while versions roll, a node that can decode it may take it. The handler's context ends
// at the timeout, and when the node ends. In the latter case the task returns to its
// queue, and the run does not count as an attempt.
func Handle[In any](r Registrar, d Definition, h func(ctx context.Context, in In) error) {
	if h == nil {
		r.RegisterTask(d, nil)
		return
	}
	r.RegisterTask(d, func(ctx context.Context, payload json.RawMessage) error {
		in, err := decode[In](payload)
		if err != nil {
			return err
		}
		return h(ctx, in)
	})
}

// HandleResult is [Handle] for a handler that returns the task's result, which
// [Client.Result], [Client.Wait] and [WaitFor] return. The result is kept for the task's
// retention; without a retention, only callers that wait already get the result.
func HandleResult[In, Out any](r Registrar, d Definition, h func(ctx context.Context, in In) (Out, error)) {
	if h == nil {
		r.RegisterTask(d, nil)
		return
	}
	Handle(r, d, func(ctx context.Context, in In) error {
		out, err := h(ctx, in)
		if err == nil {
			Tx(ctx).Result(out)
		}
		return err
	})
}

// Registry holds the task definitions, handlers, periodic tasks and queue limits of one
// app. The zero value is empty.
type Registry struct {
	tasks      map[string]registered
	periodic   []Periodic
	limits     map[string]queue.Limits
	middleware []Middleware
	enqueue    []EnqueueMiddleware
	errs       []error
}

type registered struct {
	Definition
	handle Handler
	batch  Batch // Max is 0 for a task that is handled alone
}

// Middleware wraps the handlers of all tasks; inside, [InfoOf] describes the current task or batch.
type Middleware func(next Handler) Handler

// Use adds middleware around the handlers of all tasks, those registered before
// included. The first one added is the outermost.
func (r *Registry) Use(m Middleware) { r.middleware = append(r.middleware, m) }

// Handler returns a task's handler with the middleware around it, or nil if the app does
// not handle the task.
func (r *Registry) Handler(name string) Handler {
	h := r.tasks[name].handle
	if h == nil {
		return nil
	}
	for _, m := range slices.Backward(r.middleware) {
		h = m(h)
	}
	if _, batched := r.Batch(name); batched {
		h = splitting(h)
	}
	return h
}

// RegisterTask implements [Registrar]. [Registry.Err] returns the error of an invalid
// definition or a nil handler.
func (r *Registry) RegisterTask(d Definition, h Handler) { r.register(d, Batch{}, h) }

// RegisterBatch implements [Registrar]. h is called with the array of the payloads of a batch, and may return a [BatchError].
func (r *Registry) RegisterBatch(d Definition, b Batch, h Handler) {
	if err := b.validate(d.Name); err != nil {
		r.errs = append(r.errs, err)
		return
	}
	b.Max = cmp.Or(b.Max, DefaultBatch)
	r.register(d, b, h)
}

func (r *Registry) register(d Definition, b Batch, h Handler) {
	d = d.withDefaults()
	if err := d.validate(); err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if h == nil {
		r.errs = append(r.errs, fmt.Errorf("task %s: nil handler", d.Name))
		return
	}
	if _, twice := r.tasks[d.Name]; twice {
		r.errs = append(r.errs, fmt.Errorf("task %s: registered twice", d.Name))
		return
	}
	if r.tasks == nil {
		r.tasks = map[string]registered{}
	}
	r.tasks[d.Name] = registered{Definition: d, handle: h, batch: b}
}

// Batch returns how the tasks of a name are gathered, and whether they are.
func (r *Registry) Batch(name string) (Batch, bool) {
	b := r.tasks[name].batch
	return b, b.Max > 0
}

// LimitQueue sets limits of a queue over the whole cluster. Every process of the app
// writes them to Redis again when they are missing. Limits set by an operator
// ([Inspector.LimitQueue]) take precedence.
func (r *Registry) LimitQueue(name string, l Limits) {
	if err := l.validate(name); err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if r.limits == nil {
		r.limits = map[string]queue.Limits{}
	}
	r.limits[name] = l.stored()
}

// Limits returns the limits set with [Registry.LimitQueue], by queue.
func (r *Registry) Limits() map[string]queue.Limits { return maps.Clone(r.limits) }

// Err returns the joined errors of all registrations, or nil.
func (r *Registry) Err() error {
	errs := slices.Clone(r.errs)
	for _, name := range r.Names() {
		d := r.tasks[name].Definition
		if _, handled := r.tasks[d.OnDead]; d.OnDead != "" && !handled && !d.OnDeadElsewhere {
			errs = append(errs, fmt.Errorf("task %s: OnDead names the task %s, which the app does not handle: "+
				"register it with tasks.OnDead, or set OnDeadElsewhere if another program does", name, d.OnDead))
		}
	}
	return errors.Join(errs...)
}

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
