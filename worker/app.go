package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// App collects what a program registers: tasks, RPC methods, subscriptions, hooks and
// middleware. Every node of a set runs the same app. Register everything before the set or
// client is made: supervisor.New and [Connect] report all mistakes at once, and seal the app.
// A later registration would have no effect on nodes that run; it panics with an error that
// is [ErrSealed].
type App struct {
	sealed        atomic.Bool
	tasks         tasks.Registry
	methods       *rpcregistry.Registry
	subscriptions []subscription
	start         []Hook
	middleware    middleware
	outermost     map[string]struct{} // the names given to Outermost
	errs          []error
}

// middleware has the middleware of calls and messages, the outermost first.
type middleware struct {
	call         []rpcregistry.CallMiddleware
	method       []rpcregistry.MethodMiddleware
	publish      []redisbus.PublishMiddleware
	subscription []redisbus.SubscriptionMiddleware
}

type subscription struct {
	messageType string
	handle      redisbus.Handler
}

// Hook is a function that runs once in each life of a node (see [App.OnStart]).
type Hook func(ctx context.Context) error

// ErrSealed is the error of the panic of a registration that comes too late.
var ErrSealed = errors.New("the app is in use: register everything before supervisor.New or worker.Connect")

// seal ends the time of registrations.
func (a *App) seal() { a.sealed.Store(true) }

// open panics if the app is sealed; what and name say what was to be registered.
func (a *App) open(what, name string) {
	if a.sealed.Load() {
		panic(fmt.Errorf("register %s %s: %w", what, name, ErrSealed))
	}
}

// NewApp returns an empty app.
func NewApp() *App { return &App{methods: rpcregistry.NewRegistry()} }

// RegisterTask implements tasks.Registrar; use tasks.Handle.
func (a *App) RegisterTask(d tasks.Definition, h tasks.Handler) {
	a.open("task", d.Name)
	a.tasks.RegisterTask(d, h)
}

// RegisterBatch implements tasks.Registrar; use tasks.HandleBatch.
func (a *App) RegisterBatch(d tasks.Definition, b tasks.Batch, h tasks.Handler) {
	a.open("task", d.Name)
	a.tasks.RegisterBatch(d, b, h)
}

// RegisterMethod implements rpcregistry.Registrar; use rpcregistry.Handle.
func (a *App) RegisterMethod(m rpcregistry.Method) {
	a.open("method", m.Name)
	a.methods.RegisterMethod(m)
}

// Periodic enqueues a task by a schedule, once per tick in the whole cluster:
//
//	app.Periodic("report.daily", tasks.Cron("0 6 * * *", time.UTC))
func (a *App) Periodic(task string, s tasks.Schedule) {
	a.RegisterPeriodic(tasks.Periodic{Task: task, Schedule: s})
}

// Unhandled returns the periodic tasks whose tasks the app does not handle. Until a node of
// another program does, one tick of each is parked.
func (a *App) Unhandled() []tasks.Periodic { return a.tasks.Unhandled() }

// RegisterPeriodic is [App.Periodic] with all settings.
func (a *App) RegisterPeriodic(p tasks.Periodic) {
	a.open("periodic task", cmp.Or(p.Name, p.Task))
	a.tasks.RegisterPeriodic(p)
}

// LimitQueue sets limits of a queue over the whole cluster.
func (a *App) LimitQueue(name string, l tasks.Limits) {
	a.open("limits of queue", name)
	a.tasks.LimitQueue(name, l)
}

// Use wraps the handlers of all tasks, the first middleware outermost.
func (a *App) Use(m tasks.Middleware) {
	a.checkMiddleware("task", m == nil)
	a.tasks.Use(m)
}

// UseEnqueue wraps the enqueuing of tasks, that of tasks' transactions included but not
// that of periodic tasks, the first middleware outermost.
func (a *App) UseEnqueue(m tasks.EnqueueMiddleware) {
	a.checkMiddleware("enqueue", m == nil)
	a.tasks.UseEnqueue(m)
}

// UseCall wraps the calls that the app's nodes make, the first middleware outermost.
func (a *App) UseCall(m rpcregistry.CallMiddleware) {
	a.checkMiddleware("call", m == nil)
	a.middleware.call = append(a.middleware.call, m)
}

// UseMethod wraps the RPC methods of the app's nodes, the built-in ones included.
func (a *App) UseMethod(m rpcregistry.MethodMiddleware) {
	a.checkMiddleware("method", m == nil)
	a.middleware.method = append(a.middleware.method, m)
}

// UsePublish wraps the sending of messages, those of tasks' transactions included.
func (a *App) UsePublish(m redisbus.PublishMiddleware) {
	a.checkMiddleware("publish", m == nil)
	a.middleware.publish = append(a.middleware.publish, m)
}

// UseSubscription wraps the handlers of subscriptions.
func (a *App) UseSubscription(m redisbus.SubscriptionMiddleware) {
	a.checkMiddleware("subscription", m == nil)
	a.middleware.subscription = append(a.middleware.subscription, m)
}

// Outermost adds middleware around all that the app has: what add registers wraps what was
// registered before it, and still the first one is outermost. Of several calls with the same name only the first does
// something; the result says whether this one was it.
func (a *App) Outermost(name string, add func()) bool {
	a.open("outermost middleware", name)
	if _, twice := a.outermost[name]; twice {
		return false
	}
	if a.outermost == nil {
		a.outermost = map[string]struct{}{}
	}
	a.outermost[name] = struct{}{}
	inner := a.middleware
	a.middleware = middleware{}
	a.tasks.Outermost(add)
	outer := &a.middleware
	outer.call = append(outer.call, inner.call...)
	outer.method = append(outer.method, inner.method...)
	outer.publish = append(outer.publish, inner.publish...)
	outer.subscription = append(outer.subscription, inner.subscription...)
	return true
}

func (a *App) checkMiddleware(kind string, isNil bool) {
	a.open(kind, "middleware")
	if isNil {
		a.errs = append(a.errs, fmt.Errorf("nil %s middleware", kind))
	}
}

// Deny forbids RPC methods by pattern, such as "api.stop" or "api.cache.*". A pattern that fits no
// method is an error when a set is made. Only calls are forbidden: see [rpcregistry.Registry.Deny].
func (a *App) Deny(patterns ...string) {
	a.open("denied methods", strings.Join(patterns, " "))
	a.methods.Deny(patterns...)
}

// Subscribe calls handle on every node for every message of that type.
func (a *App) Subscribe(messageType string, handle redisbus.Handler) {
	a.open("subscription", messageType)
	if err := link.CheckName("subscription", messageType); err != nil {
		a.errs = append(a.errs, err)
		return
	}
	if handle == nil {
		a.errs = append(a.errs, fmt.Errorf("subscription %s has no handler", messageType))
		return
	}
	a.subscriptions = append(a.subscriptions, subscription{messageType, handle})
}

// OnStart runs a hook before a node claims its first task. The hook's context carries
// the node's [API] and ends with the node; an error or panic of the hook is a crash of the
// node.
func (a *App) OnStart(h Hook) {
	a.open("start", "hook")
	if h == nil {
		a.errs = append(a.errs, errors.New("nil start hook"))
	}
	a.start = append(a.start, h)
}

// Err returns everything that was wrong with the registrations.
func (a *App) Err() error {
	return errors.Join(append([]error{a.tasks.Err(), a.methods.Err()}, a.errs...)...)
}

// Tasks lists the names of the tasks that the app handles.
func (a *App) Tasks() []string { return a.tasks.Names() }
