package queue

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEveryStoredTimeCanBeShownInEveryZone(t *testing.T) {
	local := time.Local
	defer func() { time.Local = local }()
	for _, hours := range []int{-12, 0, 14} {
		time.Local = time.FixedZone("", hours*3600)
		for _, ms := range []int64{math.MinInt64, -1, 0, 1, Latest().UnixMilli(), Latest().UnixMilli() + 1, math.MaxInt64} {
			_, err := json.Marshal(TimeOf(ms))
			require.NoError(t, err, "%d in %d", ms, hours)
			require.Equal(t, TimeOf(ms), Time(strconv.FormatInt(ms, 10)))
		}
	}
	require.Zero(t, Time("soon"))
}

func TestMillisecondsAreRoundedUpAndBounded(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, math.MaxInt64: 9223372036855} {
		require.Equal(t, want, Milliseconds(d))
		require.GreaterOrEqual(t, Duration(want), d-time.Millisecond)
	}
	require.Positive(t, Duration(math.MaxInt64))
	for at, want := range map[time.Time]int64{
		{}: 0, time.Unix(0, -1): 0, time.Unix(0, 0): 0, time.Unix(0, 1): 1, time.Unix(1, 1): 1001, time.Unix(math.MinInt64/2, 0): 0,
	} {
		require.Equal(t, want, Until(at))
	}
}
