package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// App is what a program registers: tasks, RPC methods, subscriptions and hooks.
// Every node of a set runs the same app. Register everything before the set is
// made; mistakes are reported then, all at once.
type App struct {
	tasks         tasks.Registry
	methods       *rpcregistry.Registry
	subscriptions []subscription
	start         []Hook
	errs          []error
}

type subscription struct {
	messageType string
	handle      redisbus.Handler
}

// Hook runs once in each life of a node.
type Hook func(ctx context.Context) error

// NewApp returns an app that does nothing yet.
func NewApp() *App { return &App{methods: rpcregistry.NewRegistry()} }

// RegisterTask implements tasks.Registrar; use tasks.Handle.
func (a *App) RegisterTask(d tasks.Definition, h tasks.Handler) { a.tasks.RegisterTask(d, h) }

// RegisterMethod implements rpcregistry.Registrar; use rpcregistry.Handle.
func (a *App) RegisterMethod(m rpcregistry.Method) { a.methods.RegisterMethod(m) }

// Periodic enqueues a task by a schedule, once per tick in the whole cluster:
//
//	app.Periodic("report.daily", tasks.Cron("0 6 * * *", time.UTC))
func (a *App) Periodic(task string, s tasks.Schedule) {
	a.RegisterPeriodic(tasks.Periodic{Task: task, Schedule: s})
}

// RegisterPeriodic is [App.Periodic] with everything that can be said.
func (a *App) RegisterPeriodic(p tasks.Periodic) { a.tasks.RegisterPeriodic(p) }

// LimitQueue sets limits of a queue over the whole cluster.
func (a *App) LimitQueue(name string, l tasks.Limits) { a.tasks.LimitQueue(name, l) }

// Use wraps the handlers of all tasks.
func (a *App) Use(m tasks.Middleware) { a.tasks.Use(m) }

// Deny forbids RPC methods by pattern, such as "api.stop" or "api.cache.*".
func (a *App) Deny(patterns ...string) { a.methods.Deny(patterns...) }

// Subscribe calls handle on every node for every message of that type.
func (a *App) Subscribe(messageType string, handle redisbus.Handler) {
	if !link.ValidName(messageType) || handle == nil {
		a.errs = append(a.errs, fmt.Errorf("subscription %q: use 1 to 200 letters, digits and . _ : -, and a handler", messageType))
		return
	}
	a.subscriptions = append(a.subscriptions, subscription{messageType, handle})
}

// OnStart runs a hook before a node claims its first task. Its context carries
// the node's [API] and ends with the node; its error or panic is a crash.
func (a *App) OnStart(h Hook) { a.start = append(a.start, h) }

// Err returns everything that was wrong with the registrations.
func (a *App) Err() error {
	return errors.Join(append([]error{a.tasks.Err(), a.methods.Err()}, a.errs...)...)
}

// Tasks lists the names of the tasks that the app handles.
func (a *App) Tasks() []string { return a.tasks.Names() }

func (a *App) definitions() []TaskInfo {
	infos := []TaskInfo{}
	for _, name := range a.tasks.Names() {
		d, _ := a.tasks.Definition(name)
		infos = append(infos, TaskInfo{Name: name, Queue: d.Queue, Retention: d.Retention.Milliseconds()})
	}
	return infos
}
