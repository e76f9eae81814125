package internal_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"github.com/thejerf/suture/v4"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
)

// countedSet counts how often a supervisor serves it.
type countedSet struct {
	*supervisor.Set
	served atomic.Int64
}

func (c *countedSet) Serve(ctx context.Context) error {
	c.served.Add(1)
	return c.Set.Serve(ctx)
}

func TestASetThatFailsIsNotStartedAgainByASupervisorAboveIt(t *testing.T) {
	set, err := supervisor.New(supervisor.Config{Workers: 1, StartTimeout: 50 * time.Millisecond, Redis: link.Config{
		Dial: func(context.Context) (net.Conn, error) { return nil, link.DialError(errors.New("no")) },
	}}, nil, zerolog.Nop())
	require.NoError(t, err)
	counted := &countedSet{Set: set}
	root := suture.New("root", suture.Spec{EventHook: func(suture.Event) {}})
	root.Add(counted)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = root.Serve(ctx)
	require.EqualValues(t, 1, counted.served.Load())
	require.Error(t, set.Serve(t.Context()), "a set is served once")
}

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestAMethodsErrorThatPanicsIsItsPanic(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		app := worker.NewApp()
		rpcregistry.Handle(app, "api.oops", func(context.Context, struct{}) (int, error) {
			var e *nilError // nil, and yet an error
			return 0, e
		})
		set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 2, Redis: cfg})
		_, err := set.Node("stellar-worker-1").API().RPC.DoCluster(t.Context(), "api.oops", nil, rpcregistry.Node("stellar-worker-2"))
		require.ErrorIs(t, err, rpcregistry.ErrPanicked)
	})
}

func TestAStartHookThatBlocksIsNamedOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := worker.NewApp()
		release := make(chan struct{})
		var n atomic.Int64
		app.OnStart(func(context.Context) error {
			if n.Add(1) == 3 {
				<-release
			}
			return nil
		})
		set, err := supervisor.New(supervisor.Config{Workers: 3, Redis: redistest.Embedded(t).Config()}, app, zerolog.Nop())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- set.Serve(ctx) }()
		time.Sleep(5 * time.Second)
		cancel()
		began := time.Now()
		err = <-done
		require.ErrorIs(t, err, supervisor.ErrDrainDeadline)
		require.ErrorContains(t, err, "start hook")
		require.Less(t, time.Since(began), 10*time.Second)
		close(release)
	})
}

func TestAStopWhileRedisIsAwaySaysWhatIsLeftOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &cable{dial: redistest.Embedded(t).Dial}
		set, _ := busy(t, line, time.Hour)
		line.set(true)
		err := set.Stop()
		require.ErrorIs(t, err, supervisor.ErrDrainDeadline)
		require.Contains(t, set.Report().String(), "not handed over")
		require.Len(t, set.Report().Unsettled, 2)
		time.Sleep(5 * time.Second) // the client library's dialler outlives its client by a second
	})
}
