package queue

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// stuck is a hook that keeps the first script from Redis until it is released.
type stuck struct{ once, release chan struct{} }

func (s stuck) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s stuck) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s stuck) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		select {
		case <-s.once:
			<-s.release
		default:
		}
		return next(ctx, cmd)
	}
}

func TestNobodyWaitsLongForABatchThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		conns := redistest.Client(t, cfg)
		hook := stuck{make(chan struct{}, 1), make(chan struct{})}
		conns.AddHook(hook)
		p := NewProducer(t.Context(), conns, cfg.Keys())
		defer p.Close()
		caller := p.Caller(t.Context(), errClosed)
		one := []Task{NewKind("n", "default", Options{}).Task("1", NoOptions, nil)}
		hook.once <- struct{}{}
		first := make(chan error, 1)
		go func() { _, _, err := caller.Enqueue(t.Context(), one); first <- err }()
		synctest.Wait()
		for i := range 3 {
			one := []Task{NewKind("n", "default", Options{}).Task(strconv.Itoa(2+i), NoOptions, nil)}
			began := time.Now()
			_, _, err := caller.Enqueue(t.Context(), one)
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(began), 2*lateAfter)
		}
		require.Empty(t, first)
		close(hook.release)
		require.NoError(t, <-first)
	})
}
