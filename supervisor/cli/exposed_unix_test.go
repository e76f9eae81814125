//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A secret that every user can read is remarked on, by run and by config check.
func TestSecretsThatOthersCanReadAreRemarkedOn(t *testing.T) {
	t.Parallel()
	env := home(t)
	dir := env["XDG_RUNTIME_DIR"]
	file, linked := filepath.Join(dir, "token"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, []byte("a-token-of-"+secret), 0o600))
	require.NoError(t, os.Symlink(file, linked))
	const remark = "every user of this machine can read"
	for _, c := range []struct {
		dir, file os.FileMode
		remarked  bool
	}{{0o755, 0o644, true}, {0o711, 0o604, true}, {0o755, 0o600, false}, {0o755, 0o640, false}, {0o700, 0o644, false}, {0o750, 0o644, false}} {
		require.NoError(t, os.Chmod(dir, c.dir))
		require.NoError(t, os.Chmod(file, c.file))
		for _, path := range []string{file, linked} {
			r := stellar(t, env.with("STELLAR_TOKEN_FILE", path), "config", "check")
			require.Zero(t, r.code, "it is a remark only: %s", r.err)
			require.Equal(t, c.remarked, strings.Contains(r.err, "STELLAR_TOKEN_FILE: "+remark+" "+path), "%+v: %s", c, r.err)
			require.NotContains(t, r.out+r.err, secret)
		}
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	set := start(t, env.with("STELLAR_TOKEN_FILE", file), echoApp(), "--workers", "1")
	set.err.await(t, remark, 1)
	set.err.await(t, "node is running", 1)
	require.Equal(t, 1, strings.Count(set.err.String(), remark))
	set.term()
	require.Zero(t, set.wait(t))
}
