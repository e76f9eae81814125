package runner

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestLargeOutcomesLetThoseThatWaitPassOnce(t *testing.T) {
	var r Runner
	end := func(ids ...string) {
		for _, id := range ids {
			x := &run{Run: queue.Run{Claimed: queue.Claimed{ID: id}}}
			x.End(queue.Done, nil)
			if id >= "A" && id <= "Z" {
				x.End(queue.Done, nil, "", "", make([]byte, batchBytes+1))
			}
			r.unsent = append(r.unsent, x)
		}
	}
	next := func() (ids []string) {
		for _, x := range r.nextBatch() {
			ids = append(ids, x.ID)
		}
		return ids
	}
	end("A", "b", "c", "D", "e")
	require.Equal(t, []string{"b", "c"}, next())
	end("f", "G", "h")
	require.Equal(t, []string{"e"}, next())
	require.Equal(t, []string{"A"}, next(), "nobody passes twice")
	require.Equal(t, []string{"f"}, next())
	end("i")
	require.Equal(t, []string{"h"}, next())
	require.Equal(t, []string{"D"}, next())
	require.Equal(t, []string{"i"}, next())
	require.Equal(t, []string{"G"}, next())
	require.Empty(t, next())
	end("J")
	require.Equal(t, []string{"J"}, next(), "nobody waits")
}
