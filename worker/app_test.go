package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// registrations are one of each kind.
func registrations(app *worker.App) map[string]func() {
	defined := tasks.Define[int](tasks.Definition{Name: "defined"})
	return map[string]func(){
		"task": func() {
			tasks.Handle(app, tasks.Definition{Name: "late"}, func(context.Context, int) error { return nil })
		},
		"task with a result": func() {
			tasks.HandleResult(app, tasks.Definition{Name: "late"}, func(context.Context, int) (int, error) { return 0, nil })
		},
		"defined task": func() { defined.Handle(app, func(context.Context, int) error { return nil }) },
		"method": func() {
			rpcregistry.Handle(app, "api.late", func(context.Context, int) (int, error) { return 0, nil })
		},
		"subscription":            func() { app.Subscribe("late", func(context.Context, redisbus.Message) {}) },
		"periodic":                func() { app.Periodic("late", tasks.Every(time.Hour)) },
		"limits":                  func() { app.LimitQueue("late", tasks.Limits{Tasks: 1}) },
		"denied":                  func() { app.Deny("api.late") },
		"hook":                    func() { app.OnStart(func(context.Context) error { return nil }) },
		"task middleware":         func() { app.Use(func(next tasks.Handler) tasks.Handler { return next }) },
		"enqueue middleware":      func() { app.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc { return next }) },
		"call middleware":         func() { app.UseCall(nil) },
		"method middleware":       func() { app.UseMethod(nil) },
		"publish middleware":      func() { app.UsePublish(nil) },
		"subscription middleware": func() { app.UseSubscription(nil) },
	}
}

func TestARegistrationThatComesTooLatePanics(t *testing.T) {
	cfg := redistest.Embedded(t).Config()
	for user, use := range map[string]func(app *worker.App){
		"supervisor.New": func(app *worker.App) {
			_, err := supervisor.New(supervisor.Config{Redis: cfg}, app, zerolog.Nop())
			require.NoError(t, err)
		},
		"worker.Connect": func(app *worker.App) { connect(t, worker.ClientConfig{Redis: cfg, App: app}) },
	} {
		app := worker.NewApp()
		use(app)
		for kind, register := range registrations(app) {
			func() {
				defer func() {
					err, _ := recover().(error)
					require.ErrorIs(t, err, worker.ErrSealed, "%s after %s", kind, user)
					require.ErrorContains(t, err, "register ")
				}()
				register()
			}()
		}
		require.NoError(t, app.Err())
		require.Empty(t, app.Tasks())
		use(app) // sets and clients may share it
	}
}

// What is wrong with an app can still be mended when it was refused.
func TestARefusedAppIsNotSealed(t *testing.T) {
	app := worker.NewApp()
	_, err := supervisor.New(supervisor.Config{Redis: redistest.Embedded(t).Config(), ID: "not a name"}, app, zerolog.Nop())
	require.Error(t, err)
	require.NotPanics(t, func() { app.Deny("api.stop") })
}

func TestNilHandlersAreErrors(t *testing.T) {
	for want, register := range map[string]func(app *worker.App){
		"task a: nil handler":           func(app *worker.App) { app.RegisterTask(tasks.Definition{Name: "a"}, nil) },
		"task b: nil handler":           func(app *worker.App) { tasks.Handle[int](app, tasks.Definition{Name: "b"}, nil) },
		"task c: nil handler":           func(app *worker.App) { tasks.HandleResult[int, int](app, tasks.Definition{Name: "c"}, nil) },
		"task d: nil handler":           func(app *worker.App) { tasks.Define[int](tasks.Definition{Name: "d"}).Handle(app, nil) },
		"task e: nil handler":           func(app *worker.App) { tasks.DefineResult[int, int](tasks.Definition{Name: "e"}).Handle(app, nil) },
		"method api.f has no function":  func(app *worker.App) { rpcregistry.Handle[int, int](app, "api.f", nil) },
		"method api.g has no function":  func(app *worker.App) { rpcregistry.HandleStrict[int, int](app, "api.g", nil) },
		"subscription h has no handler": func(app *worker.App) { app.Subscribe("h", nil) },
		"nil start hook":                func(app *worker.App) { app.OnStart(nil) },
		"nil task middleware":           func(app *worker.App) { app.Use(nil) },
		"nil enqueue middleware":        func(app *worker.App) { app.UseEnqueue(nil) },
	} {
		app := worker.NewApp()
		register(app)
		require.EqualError(t, errors.Join(app.Err()), want)
		_, err := supervisor.New(supervisor.Config{Redis: redistest.Embedded(t).Config()}, app, zerolog.Nop())
		require.ErrorContains(t, err, want)
	}
}

func TestADenialThatFitsNoMethodIsAnError(t *testing.T) {
	app := worker.NewApp()
	rpcregistry.Handle(app, "shop.refund", func(context.Context, struct{}) (any, error) { return nil, nil })
	app.Deny("shop.refund", "shop.*", "api.stop", "api.set.*", "api.*", "*", "api.ping", "api.tasks.delete")
	_, err := worker.NewHost(worker.HostConfig{Redis: redistest.Embedded(t).Config(), App: app})
	require.NoError(t, err)
	for pattern, says := range map[string]string{
		"api.STOP": `did you mean "api.stop"?`, "shop.refnud": `did you mean "shop.refund"?`, "stop": "there is no such method", "api.sets.*": "no such",
	} {
		app := worker.NewApp()
		rpcregistry.Handle(app, "shop.refund", func(context.Context, struct{}) (any, error) { return nil, nil })
		app.Deny(pattern)
		_, err := worker.NewHost(worker.HostConfig{Redis: redistest.Embedded(t).Config(), App: app})
		require.ErrorContains(t, err, pattern)
		require.ErrorContains(t, err, says)
	}
}

func TestTheNamesOfTheMethodsAreThoseOfANode(t *testing.T) {
	set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 1})
	var names []string
	for _, m := range set.Node("stellar-worker-1").API().RPC.Methods() {
		names = append(names, m.Name)
	}
	require.ElementsMatch(t, names, append(builtin.Names(), rpcregistry.Builtins()...))
}
