package redisbus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOneOfTheBusesOfAProcessSendsBeacons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewBeacons()
		for range 100 {
			heard := time.Now()
			wait, mine := s.due(0)
			require.False(t, mine)
			require.GreaterOrEqual(t, wait, beaconPause, "somebody else may send")
			time.Sleep(wait)
			_, mine = s.due(time.Since(heard))
			require.True(t, mine)
			again, mine := s.due(time.Since(heard))
			require.False(t, mine, "one is enough")
			// As if that one had been lost: another one sends, in time.
			time.Sleep(again)
			_, mine = s.due(max(time.Since(heard), wait))
			silent := time.Since(heard)
			if !mine { // it is more patient now
				wait, _ = s.due(silent)
				time.Sleep(wait)
				_, mine = s.due(time.Since(heard))
			}
			require.True(t, mine)
			require.Less(t, time.Since(heard), mostSilence)
			time.Sleep(beaconPause)
		}
	})
}
