package redisbus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// await sleeps until the bus that heard last at that time is to send.
func (b *Beacons) await(t *testing.T, heard time.Time, lag time.Duration) {
	t.Helper()
	for range 5 {
		wait, mine := b.due(time.Since(heard), lag)
		if mine {
			return
		}
		time.Sleep(wait)
	}
	require.Fail(t, "nobody sends")
}

func TestOneOfTheBusesOfAProcessSendsBeacons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewBeacons()
		for range 100 {
			heard := time.Now()
			s.await(t, heard, 0)
			require.GreaterOrEqual(t, time.Since(heard), beaconPause, "somebody else may send")
			sent := time.Now()
			for range 3 {
				wait, mine := s.due(time.Since(heard), 0)
				require.False(t, mine, "one is enough")
				require.LessOrEqual(t, wait, beaconPause)
			}
			// As if that one had been lost: another one sends, in time, and before the
			// bus that could not.
			s.await(t, heard, 0)
			require.LessOrEqual(t, time.Since(sent), beaconPause)
			require.Less(t, time.Since(heard), maxSilence-beaconLag)
			time.Sleep(beaconPause)
			wait, mine := s.due(time.Since(heard), beaconLag)
			require.False(t, mine)
			require.Equal(t, beaconLag, wait)
			time.Sleep(beaconPause)
		}
	})
}
