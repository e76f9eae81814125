package redistest

import (
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// Main is a package's TestMain: it runs the tests and fails when they leave a
// goroutine behind.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/stellarfw/stellar/redisbus/redistest.startAll"),
		// After a server that could not be reached, a closed client's pool sleeps for
		// up to a second before it sees that it was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
	)
}

// StartWithTest starts a process that is killed when the test process ends, in whatever
// way it ends (on Linux; elsewhere it just starts the process).
func StartWithTest(cmd *exec.Cmd) error { return startWithParent(cmd) }
