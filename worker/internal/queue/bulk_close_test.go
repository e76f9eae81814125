package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A caller that ends does not wait for Redis's clock.
func TestALargeCallEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cable := &redistest.Cable{To: redistest.Embedded(t).Dial}
		cfg := link.Config{Dial: cable.Dial}
		client := redistest.Client(t, cfg)
		require.NoError(t, client.Ping(t.Context()).Err())
		p := NewProducer(t.Context(), client, cfg.Keys())
		caller := p.Caller(t.Context(), errClosed)
		kind, ids := NewKind("t", "a", Options{}), p.DrawIDs(4*MaxBatch)
		var all []Task
		for range 4 * MaxBatch {
			all = append(all, kind.Task(ids.Next(), NoOptions, []byte(`1`)))
		}
		cable.BlackHole()
		ended := make(chan time.Time, 1)
		go func() {
			_, _, _ = caller.Enqueue(context.Background(), all)
			ended <- time.Now()
		}()
		time.Sleep(10 * time.Millisecond)
		closed := time.Now()
		caller.Close()
		require.Less(t, (<-ended).Sub(closed), 100*time.Millisecond)
		cable.Cut()
		p.Close()
	})
}
