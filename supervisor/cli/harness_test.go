package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/echo"
	"github.com/stellarfw/stellar/worker"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childApp); name != "" {
		program, ok := childPrograms[name]
		if !ok {
			program = Program{Name: "stellar", App: childApps[name]}
		}
		process := OS()
		changeGuardian(process.family)
		code := Main(context.Background(), program, process)
		if os.Getenv(hangs) != "" {
			select {}
		}
		os.Exit(code)
	}
	_ = flag.Set("test.parallel", "4") // most tests wait for what other programs do
	var err error
	if binaries, err = os.MkdirTemp("", "st-"); err != nil {
		panic(err)
	}
	redistest.Main(m, func() { _ = os.RemoveAll(binaries) })
}

// patient is how long a test waits for what has to happen.
const patient = time.Minute

// environment is what a test gives the program.
type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// with returns a copy with one variable more.
func (e environment) with(name, value string) environment {
	c := environment{name: value}
	for k, v := range e {
		if k != name {
			c[k] = v
		}
	}
	return c
}

// home returns an environment whose run-time directory is the test's own.
func home(t *testing.T) environment {
	t.Helper()
	dir, err := os.MkdirTemp("", "st-") // not t.TempDir: a socket's path has to be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return environment{"XDG_RUNTIME_DIR": dir}
}

// output collects what is written and lets a test wait for it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
	watch   func(text string) // called with everything written so far
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	close(o.changed)
	o.changed = make(chan struct{})
	if o.watch != nil {
		o.watch(o.text.String())
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the text occurs that many times.
func (o *output) await(t *testing.T, text string, times int) {
	t.Helper()
	timeout := time.After(patient)
	for {
		o.mu.Lock()
		n, changed := strings.Count(o.text.String(), text), o.changed
		o.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("waited for %q %d times in vain; there is:\n%s", text, times, o)
		}
	}
}

// running is a program under way in this process.
type running struct {
	out, err *output
	signals  chan os.Signal
	code     chan int
}

// appOf makes a program's App of an app; of nil one that no command may call.
func appOf(app *worker.App) func() (*worker.App, error) {
	return func() (*worker.App, error) {
		if app == nil {
			return nil, errors.New("a command that only asks made the app")
		}
		return app, nil
	}
}

// echoApp is the app of stellar.
func echoApp() *worker.App {
	app, _ := echo.App()
	return app
}

// start starts the program with that app.
func start(t *testing.T, env environment, app *worker.App, args ...string) *running {
	t.Helper()
	r := &running{out: newOutput(), err: newOutput(), signals: make(chan os.Signal, 3), code: make(chan int, 1)}
	r.begin(t, env, app, nil, args)
	t.Cleanup(r.kill)
	return r
}

func (r *running) begin(t *testing.T, env environment, app *worker.App, stdin io.Reader, args []string) {
	process := Process{
		Args: append([]string{"stellar"}, args...), Env: env.lookup, Stdin: stdin, Stdout: r.out, Stderr: r.err, Signals: r.signals,
	}
	go func() {
		r.code <- Main(context.WithoutCancel(t.Context()), Program{Name: "stellar", App: appOf(app)}, process)
	}()
}

func (r *running) term() { r.signals <- syscall.SIGTERM }

// wait returns the exit code.
func (r *running) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		r.code <- code
		return code
	case <-time.After(patient):
		t.Fatalf("it does not end; it said:\n%s\n%s", r.out, r.err)
		return -1
	}
}

func (r *running) kill() {
	for range 3 {
		select {
		case code := <-r.code:
			r.code <- code
			return
		case r.signals <- syscall.SIGTERM:
		}
	}
	<-r.code
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// stellar runs a command to its end. A command that only asks must not make the app.
func stellar(t *testing.T, env environment, args ...string) result {
	t.Helper()
	return stellarReading(t, env, "", args...)
}

func stellarReading(t *testing.T, env environment, stdin string, args ...string) result {
	t.Helper()
	r := &running{out: newOutput(), err: newOutput(), signals: make(chan os.Signal, 3), code: make(chan int, 1)}
	app := echoApp()
	if len(args) > 0 && slices.Contains(strings.Fields("status scale roll upgrade reload quiet resume call publish subscribe enqueue tasks cache namespace data demo version help completion"), args[0]) {
		app = nil
	}
	r.begin(t, env, app, strings.NewReader(stdin), args)
	code := r.wait(t)
	return result{code, r.out.String(), r.err.String()}
}

// place is a Redis and how the program finds it.
type place struct {
	cfg link.Config
	env environment
}

// each runs the scenario on an embedded Redis behind a socket file and on a real one.
func each(t *testing.T, scenario func(t *testing.T, at place)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		server := redistest.Embedded(t)
		env := home(t)
		socket := filepath.Join(env["XDG_RUNTIME_DIR"], "s")
		_, err := server.Listen(t.Context(), socket)
		require.NoError(t, err)
		scenario(t, place{server.Config(), env.with("STELLAR_SOCKET", socket)})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		cfg := redistest.Start(t).Config()
		scenario(t, place{cfg, home(t).with("REDIS_URL", cfg.URL)})
	})
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
