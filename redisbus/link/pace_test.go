package link_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestAFloodOfHintsCausesFewLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p link.Pace
		var looks atomic.Int64
		for range 30_000 {
			p.Do(func() { looks.Add(1) })
			time.Sleep(100 * time.Microsecond)
		}
		synctest.Wait()
		require.LessOrEqual(t, looks.Load(), int64(20+3000/5+1))
		require.GreaterOrEqual(t, looks.Load(), int64(3000/5))
		time.Sleep(time.Second)
		last := looks.Load()
		p.Do(func() { looks.Add(1) })
		require.Equal(t, last+1, looks.Load(), "after the flood at once")
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
