package manual_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shellPrelude lets "go run ." mean the binary that is built already.
const shellPrelude = `set -e
go() { shift 2; stellar "$@"; }
`

// The blocks marked "sh" of a page run one after the other, beside a running set of
// two nodes; a command that fails, fails the test. Blocks marked "console" are
// not run. Files that a page shows ("yaml file=NAME") are there.
func TestShellBlocksRun(t *testing.T) {
	t.Parallel()
	stubs := t.TempDir()
	convert := filepath.Join(stubs, "convert") // a page's example of a program
	require.NoError(t, os.WriteFile(convert, []byte("#!/bin/sh\nexec cat\n"), 0o700))
	programs := filepath.Dir(binary(t)) + ":" + stubs
	for _, d := range documents(t) {
		var script strings.Builder
		for _, b := range d.blocks("sh") {
			script.WriteString(b.text)
		}
		if script.Len() == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(d.path), ".md"), func(t *testing.T) {
			t.Parallel()
			at := newPlace(t, programs)
			for _, b := range d.blocks("yaml") {
				if b.file != "" {
					require.NoError(t, os.WriteFile(filepath.Join(at.dir, b.file), []byte(b.text), 0o600))
				}
			}
			at.start(t)
			output, err := at.command(t.Context(), "sh", "-xc", shellPrelude+script.String()).CombinedOutput()
			require.NoError(t, err, "%s", output)
		})
	}
}

// directory holds the built binary; it is removed when all tests have ended.
var directory string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if directory, err = os.MkdirTemp("", "manual-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	return m.Run()
}

// build builds the binary once, and without the race detector, with which a process begins five
// times as fast: these tests are about what the pages say.
var build = sync.OnceValue(func() error {
	output, err := exec.Command("go", "build", "-race=false", "-buildvcs=false", "-o", directory, root).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
})

// binary returns the path of the built binary.
func binary(t *testing.T) string {
	t.Helper()
	require.NoError(t, build())
	return filepath.Join(directory, "stellar")
}

// place is where a page's commands run: a directory and run-time files of their own.
type place struct {
	dir string
	env []string
}

func newPlace(t *testing.T, programs string) place {
	t.Helper()
	sockets, err := os.MkdirTemp("", "st-") // not t.TempDir: a socket's path has to be short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	return place{dir: t.TempDir(), env: []string{
		"PATH=" + programs + ":" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "XDG_RUNTIME_DIR=" + sockets,
	}}
}

func (p place) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	return cmd
}

// start starts a set of two nodes and waits until they run.
func (p place) start(t *testing.T) {
	t.Helper()
	var log strings.Builder
	set := p.command(context.WithoutCancel(t.Context()), binary(t), "run", "--workers", "2", "--drain", "1s")
	set.Stderr = &log
	require.NoError(t, set.Start())
	t.Cleanup(func() {
		_ = set.Process.Signal(syscall.SIGTERM)
		if err := set.Wait(); err != nil {
			t.Error(fmt.Errorf("the set ended with %w: %s", err, log.String()))
		}
	})
	require.Eventually(t, func() bool {
		return p.command(t.Context(), binary(t), "call", "api.ping", "--node", "stellar-worker-2").Run() == nil
	}, time.Minute, 50*time.Millisecond)
}
