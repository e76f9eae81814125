package terminal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

func TestASparklineIsAsHighAsItsValues(t *testing.T) {
	require.Empty(t, terminal.Sparkline(nil))
	require.Equal(t, "··", terminal.Sparkline([]float64{0, -1}))
	require.Equal(t, "█·▁▄", terminal.Sparkline([]float64{1000, 0, 1, 499}))
}
