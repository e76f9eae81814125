package redistest

import (
	"os"
	"os/exec"
	"testing"
)

// endServers ends the servers whose state is in a data directory below $0, and removes it. It waits for the
// end of its input: that of the test, or of its process.
const endServers = `cat >/dev/null
for state in "$0"/redis.json "$0"/*/redis.json; do
	pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$state" 2>/dev/null)
	case $(ps -o comm= -p "${pid:-0}" 2>/dev/null) in *redis-server* | *valkey-server*) kill -9 "$pid" ;; esac
done
rm -rf "$0"`

// DataDir returns a directory in which programs keep a Redis of their own, or below which they do. A
// server that outlives its program ends with the test, and with the test's process in whatever way that ends.
func DataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "data-") // not t.TempDir: the path of a socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	inside, outside, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", endServers, dir)
	cmd.Stdin = inside
	separate(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = inside.Close()
	t.Cleanup(func() {
		_ = outside.Close()
		_ = cmd.Wait()
	})
	return dir
}
