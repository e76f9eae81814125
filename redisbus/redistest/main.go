package redistest

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// Main is a package's TestMain: it runs the tests and fails when they leave a
// goroutine behind. The Redis client's own lines are not printed. cleanup is called at the
// end.
func Main(m *testing.M, cleanup ...func()) {
	Silence()
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(code int) {
			for _, f := range cleanup {
				f()
			}
			os.Exit(code)
		}),
		goleak.IgnoreAnyFunction("github.com/stellarfw/stellar/redisbus/redistest.startAll"),
		// After a server that could not be reached, a closed client's pool sleeps for
		// up to a second before it sees that it was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
	)
}

// StartWithTest starts a process that is killed when the test process ends, in whatever
// way it ends (on Linux; elsewhere it just starts the process).
func StartWithTest(cmd *exec.Cmd) error { return startWithParent(cmd) }

// Silence drops the lines that the Redis client library writes to standard error, such as
// one for each connection that a test cuts.
func Silence() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
