package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody is the number of a user without rights, and of its group.
const nobody = 65534

// asNobody has a program run as the user nobody if the test is run by root, whose programs
// can read everything.
func asNobody(t *testing.T, env environment, path string) func(b *binary) {
	t.Helper()
	if os.Geteuid() != 0 {
		return func(*binary) {}
	}
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	require.NoError(t, os.Chown(env["XDG_RUNTIME_DIR"], nobody, nobody))
	return func(b *binary) {
		b.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

// A program of a command task looks for the secrets of the process that runs it.
func TestWhatACommandTaskReadsOfItsProcess(t *testing.T) {
	t.Parallel()
	path := built(t)
	for name, c := range map[string]struct {
		asRoot bool
		user   string // of the task
		flags  []string
		reads  bool   // the program gets the secret
		says   string // in the log
	}{
		"closed":             {says: "this process is closed to debuggers"},
		"debuggable":         {flags: []string{"--debuggable"}, reads: true, says: "--debuggable is given"},
		"root without user":  {asRoot: true, reads: true, says: "run as root, and can read"},
		"root with nobody":   {asRoot: true, user: "nobody"},
		"root with a number": {asRoot: true, user: "65533:65533"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.asRoot && os.Geteuid() != 0 {
				t.Skip("only root can run programs as other users")
			}
			env := home(t)
			file := filepath.Join(env["XDG_RUNTIME_DIR"], "stellar.yaml")
			text := `tasks: {look: {max-attempts: 1, command: [sh, -c, "cat /proc/$PPID/environ || echo refused; cat /proc/$PPID/mem; id -u; id -g; id -G; env"]}}`
			if c.user != "" {
				text = strings.Replace(text, "{max", `{user: "`+c.user+`", max`, 1)
			}
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			as := func(*binary) {}
			if !c.asRoot {
				as = asNobody(t, env, path)
				if os.Geteuid() == 0 {
					require.NoError(t, os.Chown(file, nobody, nobody))
				}
			}
			run := func(args ...string) *binary {
				b := prepare(t, path, env.with("STELLAR_TOKEN", "a-token-of-"+secret), args...)
				as(b)
				require.NoError(t, b.cmd.Start())
				return b
			}
			set := run(append([]string{"--workers", "1", "--config", file}, c.flags...)...)
			set.err.await(t, "node is running", 1)
			look := run("enqueue", "look", "--wait", "--result")
			require.Zero(t, look.wait(t), "%s%s", look.err, set.err)
			if c.reads {
				require.Contains(t, look.out.String(), secret, "so the test would see it")
			} else {
				require.NotContains(t, look.out.String(), secret)
				require.Contains(t, look.out.String(), "refused")
			}
			switch c.user {
			case "nobody":
				require.Contains(t, look.out.String(), `refused\n65534\n65534\n65534\n`)
				require.Contains(t, look.out.String(), `HOME=/nonexistent\n`)
			case "65533:65533":
				require.Contains(t, look.out.String(), `refused\n65533\n65533\n65533\n`)
			}
			require.Contains(t, set.err.String(), c.says)
			require.NoError(t, set.cmd.Process.Signal(syscall.SIGTERM))
			require.Zero(t, set.wait(t), set.err)
		})
	}
}

// A socket that another user offers gets no data.
func TestASocketOfAnotherUserIsNotTrusted(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as other users")
	}
	env, path := home(t), built(t)
	socket := filepath.Join(env["XDG_RUNTIME_DIR"], "s")
	b := prepare(t, path, env, "--workers", "1", "--socket", socket)
	asNobody(t, env, path)(b)
	require.NoError(t, b.cmd.Start())
	b.err.await(t, "node is running", 1)
	for _, args := range [][]string{{"cache", "set", "k", `"` + secret + `"`}, {"status"}, {"enqueue", "echo"}} {
		r := stellar(t, env, append(args, "--socket", socket)...)
		require.Equal(t, 78, r.code, r.out)
		require.Contains(t, r.err, "belongs to another user (65534)")
	}
	get := prepare(t, path, env, "cache", "get", "k", "--socket", socket)
	asNobody(t, env, path)(get)
	require.NoError(t, get.cmd.Start())
	require.Equal(t, 1, get.wait(t), "nothing has arrived: %s", get.out)
	require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, b.wait(t), b.err)
}
