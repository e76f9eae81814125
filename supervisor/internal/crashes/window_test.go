package crashes

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOnlyTheCrashesWithinTheWindowCountOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := Window{Length: 30 * time.Second}
		require.False(t, w.Add("node-1", "panic", 2))
		require.False(t, w.Add("node-2", "panic", 2))
		require.True(t, w.Add("node-1", "no memory", 2))
		require.Equal(t, "node-1 2 times, at last: no memory; node-2 1 time, at last: panic", w.String())

		time.Sleep(31 * time.Second)
		require.False(t, w.Add("node-2", "late", 1))
		require.Equal(t, 1, w.Len())
		require.Equal(t, "node-2 1 time, at last: late", w.String())
		for range 100 {
			require.False(t, w.Add("node-3", "again", -1), "there is no limit")
		}
		require.True(t, w.Add("node-3", "again", 0))
	})
}
