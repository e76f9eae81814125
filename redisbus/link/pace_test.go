package link_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestAFloodOfHintsCausesFewLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p link.Pace
		looks := 0
		for range 30_000 {
			p.Do(func() { looks++ })
			time.Sleep(100 * time.Microsecond)
		}
		synctest.Wait()
		require.LessOrEqual(t, looks, 20+3000/5+1)
		require.GreaterOrEqual(t, looks, 3000/5)
		time.Sleep(time.Second)
		last := looks
		p.Do(func() { looks++ })
		require.Equal(t, last+1, looks, "after the flood at once")
	})
}

func TestLooksThatWereWorthItAreNeverPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p link.Pace
		for range 10_000 {
			require.Zero(t, p.Pause())
			p.Refund()
		}
	})
}
