package internal_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
)

// stepwise is a cable on which an outage begins with the left-th request from now on.
type stepwise struct {
	redistest.Cable

	left    atomic.Int64
	outage  func(*stepwise)
	reached chan struct{} // closed when the outage begins
	healed  chan struct{} // closed when it is over
}

type stepConn struct {
	net.Conn

	way *stepwise
}

func (c stepConn) Write(b []byte) (int, error) {
	if s := c.way; s.left.Add(-1) == 0 {
		close(s.reached)
		s.Refuse.Store(true)
		s.outage(s)
		time.AfterFunc(14*time.Second, func() { s.Refuse.Store(false); close(s.healed) })
	}
	return c.Conn.Write(b)
}

func (s *stepwise) dial(ctx context.Context) (net.Conn, error) {
	conn, err := s.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return stepConn{conn, s}, nil
}

// began reports whether the outage has begun, and if so waits for its end.
func (s *stepwise) began() bool {
	select {
	case <-s.reached:
		<-s.healed
		return true
	default:
		return false
	}
}

// joinAndLeave runs a set of one node whose Redis is away for 14 s from the step-th request
// on that the set makes after it has begun to start, or to stop. It reports whether there
// were so many requests.
func joinAndLeave(t *testing.T, step int64, outage func(*stepwise), stopping bool) bool {
	t.Helper()
	server := embedded.New()
	defer server.Close()
	way := &stepwise{
		Cable: redistest.Cable{To: server.Dial}, outage: outage, reached: make(chan struct{}), healed: make(chan struct{}),
	}
	if !stopping {
		way.left.Store(step)
	}
	set, err := supervisor.New(supervisor.Config{
		Workers: 1, Redis: link.Config{Dial: way.dial}, StartTimeout: time.Minute,
	}, nil, zerolog.Nop())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	require.NoError(t, set.AwaitReady(ctx), "step %d", step)
	began := way.began()
	if began {
		time.Sleep(15 * time.Second)
		ready, want := set.Ready()
		require.Equal(t, want, ready, "step %d: it is back", step)
	}
	way.left.Store(0)
	if stopping {
		way.left.Store(step)
	}
	stop()
	err = <-done
	if !began && !way.began() {
		require.NoError(t, err, "step %d", step)
		require.False(t, stopping && step == 1)
	} else {
		began = true
	}
	require.Zero(t, set.Report().Crashes, "step %d", step)
	require.Empty(t, set.Status().Crashed, "step %d", step)
	return began
}

// Redis goes away at every request with which a node joins, starts, stops and leaves.
func TestNoOutageWhileANodeJoinsOrLeavesIsACrashOnVirtualTime(t *testing.T) {
	for name, outage := range map[string]func(*stepwise){
		"cut":        func(s *stepwise) { s.Cut() },
		"black hole": func(s *stepwise) { s.BlackHole() },
	} {
		for phase, stopping := range map[string]bool{"joining": false, "leaving": true} {
			t.Run(name+" "+phase, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					step := int64(1)
					for joinAndLeave(t, step, outage, stopping) {
						step++
					}
					require.Greater(t, step, int64(5), "there are many steps")
				})
			})
		}
	}
}
