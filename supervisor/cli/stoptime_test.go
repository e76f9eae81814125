package cli

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/worker"
)

// The times that the manual has service managers wait are longer than what a stop may take.
func TestTheManualGivesAProgramTheTimeToStop(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("manual/deployment.md")
	require.NoError(t, err)
	stop := stopTime(worker.DefaultDrain, worker.DefaultGrace)
	for pattern, least := range map[string]time.Duration{
		`TimeoutStopSec=(\d+)`:                 stop + cluster.SaveTime,
		`terminationGracePeriodSeconds: (\d+)`: stop,
	} {
		match := regexp.MustCompile(pattern).FindSubmatch(page)
		require.NotNil(t, match, pattern)
		seconds, err := strconv.Atoi(string(match[1]))
		require.NoError(t, err)
		require.Greater(t, time.Duration(seconds)*time.Second, least, pattern)
	}
}
