package redistest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main is a package's TestMain: it runs the tests and fails when they leave a
// goroutine behind.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/stellarfw/stellar/redisbus/redistest.startAll"))
}
