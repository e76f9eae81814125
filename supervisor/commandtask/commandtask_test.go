//go:build unix

package commandtask_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/commandtask"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

const patient = time.Minute

// options are those of a process with a secret in its environment.
var options = commandtask.Options{
	Environment: []string{"PATH=" + os.Getenv("PATH"), "LANG=C"},
	Grace:       400 * time.Millisecond,
}

// shell is a task that runs a script.
func shell(script string) commandtask.Command {
	return commandtask.Command{
		Definition: tasks.Definition{Name: "script", MaxAttempts: 1, Retention: time.Minute},
		Program:    []string{"sh", "-c", script},
	}
}

func start(t *testing.T, cfg supervisor.Config, c commandtask.Command, o commandtask.Options) *supervisortest.Set {
	t.Helper()
	app := worker.NewApp()
	require.NoError(t, commandtask.Register(app, c, o))
	cfg.Workers, cfg.Grace = 1, 3*time.Second
	return supervisortest.StartWith(t, app, cfg)
}

// run runs one task to its end.
func run(t *testing.T, set *supervisortest.Set, payload any) (json.RawMessage, error) {
	t.Helper()
	api := set.Node("stellar-worker-1").API()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	return api.Tasks.EnqueueAndWait(ctx, "script", payload, tasks.Options{})
}

func TestPayloadInResultOut(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		set := start(t, supervisor.Config{Redis: cfg}, shell("cat"), options)
		const payload = `{"b":1,"a":[1.50,"é <&>"],"big":12345678901234567890}`
		result, err := run(t, set, json.RawMessage(payload))
		require.NoError(t, err)
		require.JSONEq(t, payload, string(result))
		require.Contains(t, string(result), "12345678901234567890", "no number went through a float")
	})
}

func TestWhatIsKept(t *testing.T) {
	for name, c := range map[string]struct{ script, result string }{
		"nothing":          {"true", `null`},
		"JSON":             {`echo ' [1, 2] '`, `[1,2]`},
		"text":             {`echo two; echo here`, `"two\nhere\n"`},
		"bytes":            {`printf '\377\000'`, `{"base64":"/wA=","bytes":2}`},
		"too much text":    {`printf 0123456789é0123456789`, `{"text":"0123456789","bytes":22,"truncated":true}`},
		"too many bytes":   {`printf '\377%030d' 0`, `{"base64":"/zAwMDAwMDAwMDA=","bytes":31,"truncated":true}`},
		"too much of JSON": {`printf '[1,2,3,4,5,6,7,8,9]'`, `{"text":"[1,2,3,4,5,","bytes":19,"truncated":true}`},
		"unread input":     {`exec <&-; echo 1`, `1`},
	} {
		t.Run(name, func(t *testing.T) {
			command := shell(c.script)
			command.Output = 11
			set := start(t, supervisor.Config{}, command, options)
			result, err := run(t, set, strings.Repeat("x", 1<<20))
			require.NoError(t, err)
			if c.result == "null" {
				require.Empty(t, result)
				return
			}
			require.JSONEq(t, c.result, string(result))
		})
	}
	command := shell(`head -c 4000000 /dev/zero`) // six bytes each as text
	command.Output = commandtask.MaxOutput
	result, err := run(t, start(t, supervisor.Config{}, command, options), nil)
	require.NoError(t, err)
	require.Contains(t, string(result), `{"base64":"AAAA`, "the shorter form")

	command = shell("echo 1")
	command.Output = -1
	result, err = run(t, start(t, supervisor.Config{}, command, options), nil)
	require.NoError(t, err)
	require.Empty(t, result, "nothing is kept where nothing is to be kept")
}

func TestTheProgramInheritsNoSecrets(t *testing.T) {
	t.Setenv("STELLAR_TOKEN", "0123456789abcdef")
	t.Setenv("REDIS_PASS", "hunter22-hunter22")
	command := shell(`env; pwd`)
	command.Environment = map[string]string{"KEY": "value=1", "LANG": "de_DE"}
	command.Directory = t.TempDir()
	result, err := run(t, start(t, supervisor.Config{}, command, options), nil)
	require.NoError(t, err)
	var text string
	require.NoError(t, json.Unmarshal(result, &text))
	for _, line := range []string{
		"KEY=value=1\n", "LANG=de_DE\n", "PATH=" + os.Getenv("PATH"), "STELLAR_TASK_NAME=script\n", "STELLAR_TASK_ATTEMPT=1\n",
		"STELLAR_NODE=stellar-worker-1\n", command.Directory + "\n",
	} {
		require.Contains(t, text, line)
	}
	require.Regexp(t, `STELLAR_TASK_ID=\S+\n`, text)
	require.Regexp(t, `STELLAR_TASK_FENCE=[1-9]\d*\n`, text)
	require.NotContains(t, text, "STELLAR_TOKEN")
	require.NotContains(t, text, "hunter22")
	require.NotContains(t, text, "HOME=")
}

func TestExitCodes(t *testing.T) {
	t.Run("a failure is tried again", func(t *testing.T) {
		command := shell(`echo attempt $STELLAR_TASK_ATTEMPT >&2; [ $STELLAR_TASK_ATTEMPT = 2 ] && echo 7 || exit 3`)
		command.MaxAttempts, command.Backoff = 2, time.Millisecond
		result, err := run(t, start(t, supervisor.Config{}, command, options), nil)
		require.NoError(t, err)
		require.JSONEq(t, "7", string(result))
	})
	t.Run("up to its limit", func(t *testing.T) {
		command := shell(`printf 'x%.0s' $(seq 3000) >&2; echo the end >&2; exit 3`)
		_, err := run(t, start(t, supervisor.Config{}, command, options), nil)
		require.ErrorIs(t, err, tasks.ErrDead)
		require.ErrorContains(t, err, "failed: sh: exit status 3: …x")
		require.ErrorContains(t, err, "xthe end")
		require.Less(t, len(err.Error()), 2300, "the end of standard error alone")
	})
	t.Run("bad data is not tried again", func(t *testing.T) {
		command := shell(`echo no picture >&2; exit 65`)
		command.MaxAttempts = 9
		_, err := run(t, start(t, supervisor.Config{}, command, options), nil)
		require.ErrorIs(t, err, tasks.ErrDead)
		require.ErrorContains(t, err, "discarded: sh: exit status 65: no picture")
	})
	t.Run("a temporary failure is no attempt", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		command := shell(fmt.Sprintf(`[ -e %[1]s ] && echo $STELLAR_TASK_ATTEMPT && exit; touch %[1]s; exit 75`, file))
		command.Snooze = time.Millisecond
		result, err := run(t, start(t, supervisor.Config{}, command, options), nil)
		require.NoError(t, err)
		require.JSONEq(t, "1", string(result))
	})
	t.Run("a signal is a failure", func(t *testing.T) {
		_, err := run(t, start(t, supervisor.Config{}, shell(`kill -SEGV $$`), options), nil)
		require.ErrorContains(t, err, "segmentation fault")
	})
	t.Run("a program that is gone is a failure", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "program")
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700))
		command := shell("")
		command.Program = []string{path}
		set := start(t, supervisor.Config{}, command, options)
		require.NoError(t, os.Remove(path))
		_, err := run(t, set, nil)
		require.ErrorContains(t, err, "no such file or directory")
	})
}

// families are scripts that start a grandchild, say its number in the file, and wait.
var families = map[string]string{
	"obedient":              `sleep 1000 & echo $! >%s.new; mv %[1]s.new %[1]s; wait`,
	"deaf to SIGTERM":       `trap '' TERM; sleep 1000 & echo $! >%s.new; mv %[1]s.new %[1]s; wait; sleep 1000`,
	"with a deaf child":     `(trap '' TERM; sleep 1000; sleep 1000) & echo $! >%s.new; mv %[1]s.new %[1]s; wait`,
	"done when it is asked": `trap 'exit 0' TERM; sleep 1000 & echo $! >%s.new; mv %[1]s.new %[1]s; wait`,
}

// number waits until the file says the number of a process.
func number(t *testing.T, file string) int {
	t.Helper()
	var pid int
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	}, patient, time.Millisecond)
	return pid
}

// gone waits until a process has ended, be it reaped or not.
func gone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && strings.Contains(string(stat), ") Z ")
	}, patient, time.Millisecond, "process %d still runs", pid)
}

func TestTheTimeoutEndsTheWholeGroup(t *testing.T) {
	for name, script := range families {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			command := shell(fmt.Sprintf("echo began >&2; "+script, file))
			command.Timeout = 300 * time.Millisecond
			_, err := run(t, start(t, supervisor.Config{}, command, options), nil)
			require.ErrorContains(t, err, "sh: task timeout of 300ms")
			require.ErrorContains(t, err, "began")
			gone(t, number(t, file))
		})
	}
}

func TestTheEndOfTheNodeEndsTheWholeGroup(t *testing.T) {
	for name, script := range families {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			set := start(t, supervisor.Config{Drain: time.Millisecond}, shell(fmt.Sprintf(script, file)), options)
			api := set.Node("stellar-worker-1").API()
			_, err := api.Tasks.Enqueue(t.Context(), "script", nil)
			require.NoError(t, err)
			pid := number(t, file)
			require.NoError(t, set.Stop(), "it returned within its grace time")
			gone(t, pid)
			require.Zero(t, set.Report().Done, "it went back to its queue")
		})
	}
}

func TestWhatAProgramLeavesBehindIsKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	result, err := run(t, start(t, supervisor.Config{}, shell(fmt.Sprintf(`sleep 1000 & echo $! >%s; echo 5`, file)), options), nil)
	require.NoError(t, err)
	require.JSONEq(t, "5", string(result))
	gone(t, number(t, file))
}

func TestNobodyWaitsForAProcessThatLeftTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	script := fmt.Sprintf(`setsid sh -c 'echo $$ >%s.new; mv %[1]s.new %[1]s; exec sleep 1000' & while [ ! -e %[1]s ]; do :; done; echo 5`, file)
	result, err := run(t, start(t, supervisor.Config{}, shell(script), options), strings.Repeat("x", 1<<20))
	require.NoError(t, err)
	require.JSONEq(t, "5", string(result))
	pid := number(t, file)
	require.NoError(t, syscall.Kill(pid, 0), "it is a daemon of its own")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	gone(t, pid)
}

func TestMistakesAreReportedAtOnce(t *testing.T) {
	command := commandtask.Command{
		Program: []string{"no-such-program-at-all", "a\x00b"}, Directory: "/no/such", Output: commandtask.MaxOutput + 1, Snooze: -1,
		Environment: map[string]string{"A=B": "", "STELLAR_TOKEN": "x", "C": "\x00"},
	}
	err := commandtask.Register(worker.NewApp(), command, options)
	for _, text := range []string{
		`program "no-such-program-at-all": executable file not found`, "NUL byte", "directory: stat /no/such", `"A=B" is not the name`,
		"STELLAR_TOKEN: names that begin with STELLAR_", "C: its value", "output: 8388609 bytes", "snooze: -1ns is negative",
	} {
		require.ErrorContains(t, err, text)
	}
	require.ErrorContains(t, commandtask.Register(worker.NewApp(), commandtask.Command{}, options), "the program is missing")
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, nil, 0o600))
	require.ErrorContains(t, commandtask.Command{Program: []string{plain}}.Validate(), "permission denied")
	require.ErrorContains(t, commandtask.Command{Program: []string{"sh"}, Directory: plain}.Validate(), "is not a directory")
}

func TestAPathBeginsAtTheDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", "hello"), []byte("#!/bin/sh\necho \"$0\"\n"), 0o700))
	command := shell("")
	command.Program, command.Directory = []string{"bin/hello"}, dir
	result, err := run(t, start(t, supervisor.Config{}, command, options), nil)
	require.NoError(t, err)
	require.Contains(t, string(result), filepath.Join(dir, "bin", "hello"))
}

func TestUsersAreLookedUpAtOnce(t *testing.T) {
	valid := func(as string) error {
		return commandtask.Command{Program: []string{"sh"}, User: as}.Validate()
	}
	own := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	require.NoError(t, valid(own))
	require.False(t, commandtask.Command{User: own}.Separated(), "the same user")
	require.False(t, commandtask.Command{}.Separated())
	for as, says := range map[string]string{
		"no-such-user-at-all": `user: "no-such-user-at-all": there is no such user here`, "4294967296": "no such user",
		"1000:": "use UID:GID", "1000:users": "use UID:GID", "-1:0": "use UID:GID", "1:4294967296": "use UID:GID", "\x00": "no such user",
	} {
		require.ErrorContains(t, valid(as), says, as)
	}
	const other = "65533:65533"
	if os.Geteuid() == 0 {
		require.NoError(t, valid(other))
		require.True(t, commandtask.Command{User: other}.Separated())
	} else {
		require.ErrorContains(t, valid(other), "only a process of root")
	}
}

// A program of another user is ended like any other.
func TestAnotherUsersProgramIsEndedToo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as other users")
	}
	command := shell("trap '' TERM; echo $$ >&2; while :; do sleep 0.1; done")
	command.User, command.Timeout = "65533:65533", 300*time.Millisecond
	_, err := run(t, start(t, supervisor.Config{}, command, options), nil)
	require.ErrorContains(t, err, "task timeout of 300ms")
	pid := regexp.MustCompile(`\d+$`).FindString(err.Error())
	n, err := strconv.Atoi(pid)
	require.NoError(t, err)
	gone(t, n)
}
