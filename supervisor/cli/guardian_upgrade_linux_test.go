package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/supervisor/guard"
)

// installed returns an environment in which the guardian's program lies at a path of the test's own.
func installed(t *testing.T) (env environment, path string) {
	t.Helper()
	env = home(t)
	path = filepath.Join(env["XDG_RUNTIME_DIR"], "program")
	install(t, path)
	return env.with(programFile, path), path
}

// another is a second file with the program of the tests.
var another = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(binaries, "another")
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		return path, err
	}
	return path, os.WriteFile(path, text, 0o700)
})

// install puts a new program in the place of the one at path.
func install(t *testing.T, path string) {
	t.Helper()
	program, err := another()
	require.NoError(t, err)
	if service.SameFile(program, path) {
		program = os.Args[0]
	}
	require.NoError(t, os.Link(program, path+".new"))
	require.NoError(t, os.Rename(path+".new", path))
}

// broken puts a script in the place of the program at path.
func broken(t *testing.T, path, script string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	require.NoError(t, os.Rename(path+".new", path))
}

// programOf returns the path of the process's program, with "(deleted)" if another one lies there.
func programOf(t *testing.T, pid int) string {
	t.Helper()
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	require.NoError(t, err)
	return path
}

func TestAnUpgradeHasNoGap(t *testing.T) {
	t.Parallel()
	env, path := installed(t)
	const token = "0123456789-secret-token-0123456789"
	pidfile := filepath.Join(env["XDG_RUNTIME_DIR"], "pid")
	notify := filepath.Join(env["XDG_RUNTIME_DIR"], "notify")
	manager := newManager(t, notify)
	env = env.with("STELLAR_TOKEN", token).with("NOTIFY_SOCKET", notify).with("WATCHDOG_USEC", "200000")
	g := guardian(t, "guarded", 4, env, "--processes", "2", "--workers", "2", "--admin-addr", "127.0.0.1:0", "--pidfile", pidfile)
	pid := g.cmd.Process.Pid
	load := g.load()
	g.hold("held", 4, 500)
	before := g.children()
	for n := 1; n <= 2; n++ { // the second one is done by a program that was itself put in place
		install(t, path)
		require.Contains(t, programOf(t, pid), "(deleted)")
		r := stellar(t, g.env, "upgrade")
		require.Zero(t, r.code, "%s%s", r.err, g.err)
		require.Contains(t, r.out, fmt.Sprintf("guardian %d on ", pid))
		require.Contains(t, r.out, ": 2 processes run anew\n")
		after := g.children()
		require.Len(t, after, 2, g.err)
		for _, child := range append(after, pid) {
			require.Equal(t, path, programOf(t, child))
			require.NotContains(t, before, child)
		}
		before = after
		require.Equal(t, n, strings.Count(g.err.String(), "the new program goes on as the guardian"))
	}
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		require.NoError(t, err)
		for _, secret := range []string{token, g.cfg.URL, guard.Variable} {
			require.NotContains(t, string(text), secret)
		}
	}
	load.end(4)
	text, err := os.ReadFile(pidfile)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d\n", pid), string(text))

	// The children are looked after as if nothing had happened.
	require.NoError(t, syscall.Kill(before[0], syscall.SIGKILL))
	g.err.await(t, "process died: starting it again", 1)
	g.eventually(func() bool { return len(g.children()) == 2 && !slices.Contains(g.children(), before[0]) }, "it starts again")
	g.awaitNodes(4)
	g.signal(t, syscall.SIGTERM)
	require.Zero(t, g.wait(t), g.err)
	require.Contains(t, g.err.String(), "7 lives of processes, 1 death")
	require.NotContains(t, g.err.String(), "DATA RACE")
	told := manager.said.String()
	require.Equal(t, 2, strings.Count(told, "RELOADING=1\nMONOTONIC_USEC="), told)
	require.NoFileExists(t, pidfile)
}

// Whatever is wrong with a new program, the one that runs goes on with all its processes.
func TestAnUpgradeThatFails(t *testing.T) {
	t.Parallel()
	env, path := installed(t)
	file := filepath.Join(env["XDG_RUNTIME_DIR"], "stuck")
	config := filepath.Join(env["XDG_RUNTIME_DIR"], "stellar.yaml")
	configure := func(text string) { require.NoError(t, os.WriteFile(config, []byte(text), 0o600)) }
	configure("processes: 2\n")
	g := guardian(t, "guarded", 2, env.with(stuck, file), "--config", config, "--workers", "1", "--admin-addr", "127.0.0.1:0")
	pid, before := g.cmd.Process.Pid, g.children()
	load := g.load()
	fails := func(says ...string) {
		t.Helper()
		r := stellar(t, g.env, "upgrade")
		require.Equal(t, 1, r.code, r.out)
		for _, text := range says {
			require.Contains(t, r.err, text)
		}
		g.eventually(func() bool { return len(g.children()) == 2 }, "two processes")
		require.Equal(t, pid, g.cmd.Process.Pid)
	}
	unchanged := func(says string) {
		t.Helper()
		fails("nothing has changed", says)
		require.Equal(t, before, g.children())
	}
	require.NoError(t, os.Remove(path))
	unchanged("no such file")
	require.NoError(t, os.WriteFile(path, []byte("\x7fELF, but the rest is missing"), 0o700))
	unchanged("exec format error")
	broken(t, path, "exit 3")
	unchanged("exit status 3")
	broken(t, path, `printf '{"v":99,"end":{"code":1}}\n' >&3`)
	unchanged("speaks another version of the guardian's protocol: end the guardian, and start the new program")
	broken(t, path, `printf '{"v":1,"status":{"ready":1,"workers":1}}\n' >&3; exec sleep 100`)
	unchanged("it knows no upgrade")
	install(t, path)
	configure("processes: 2\nconcurrency: many\n")
	unchanged("concurrency")
	configure("processes: 0\n")
	unchanged("no --processes any more")
	configure("processes: 2\n")

	// One of its children runs, the second one does not.
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.err.await(t, "new process has taken over", 1)
		_ = os.WriteFile(file, []byte(path), 0o600)
	}()
	fails("process 1: the shop is closed: the one before it goes on", "all processes run the program as before")
	<-done
	require.NoError(t, os.Remove(file))
	for _, child := range g.children() {
		require.Contains(t, programOf(t, child), "(deleted)")
	}
	g.awaitNodes(2)

	// The new program dies, or the guardian does, when both run.
	heir := func() (pid int) {
		g.eventually(func() bool {
			for _, child := range g.children() {
				if program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", child)); program == path && len(g.children()) == 3 {
					pid = child
				}
			}
			return pid != 0 && strings.Contains(readFile(fmt.Sprintf("/proc/%d/stat", pid)), " S ")
		}, "a child of the new program")
		return pid
	}
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	failed, can := strings.Count(g.err.String(), "upgrade has failed"), strings.Count(g.err.String(), "can take over")
	g.signal(t, syscall.SIGUSR1)
	g.err.await(t, "can take over", can+1)
	require.NoError(t, syscall.Kill(heir(), syscall.SIGKILL))
	g.err.await(t, "upgrade has failed", failed+1)
	require.Contains(t, g.err.String(), "signal: killed: the one before it goes on; all processes run the program as before")
	load.end(0)

	g.hold("held", 2, 500)
	g.signal(t, syscall.SIGUSR1)
	g.err.await(t, "can take over", can+2)
	all := append(g.children(), heir())
	g.signal(t, syscall.SIGKILL)
	require.NoError(t, os.Remove(file)) // one that stays stuck kills itself after a minute
	g.eventually(func() bool { return !slices.ContainsFunc(all, isAlive) }, "all end")
	c := g.counts()
	require.Zero(t, c.HandedOn+c.Active)
	require.Zero(t, g.client.ZCard(t.Context(), g.cfg.Keys().Leases()).Val())
}

func readFile(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

func TestAnUpgradeNeedsAGuardian(t *testing.T) {
	t.Parallel()
	env := home(t).with("REDIS_URL", redistest.Start(t).Config().URL)
	r := stellar(t, env, "upgrade")
	require.Equal(t, exitUnavailable, r.code, r.err)
	set := launchApp(t, "guarded", env, "--workers", "1")
	set.err.await(t, "node is running", 1)
	r = stellar(t, env, "upgrade")
	require.Equal(t, exitUsage, r.code, r.err)
	require.Contains(t, r.err, "this process has no guardian")
	set.signal(t, syscall.SIGUSR1)
	set.err.await(t, "with --processes 1 or more", 1)
	require.Len(t, awaitNodes(t, env, 1).Nodes, 1)
}
