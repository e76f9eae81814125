package setcmd

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func reaching(t *testing.T, cfg link.Config) *cluster.Client {
	t.Helper()
	c, err := cluster.Open(context.WithoutCancel(t.Context()), worker.ClientConfig{Redis: cfg}, cfg.Address())
	require.NoError(t, err)
	return c
}

// scriptedSet is the process of one node whose set does what a test says.
type scriptedSet struct {
	builtin.Controls // of the methods that the test does not call

	host *worker.Host
	node *worker.Node
	left chan struct{} // closed when the node has

	roll   func() error
	quiet  func()
	rolled atomic.Int64 // calls

	mu     sync.Mutex
	status []builtin.SetStatus // one after the other; the last one stays
}

func (s *scriptedSet) By(string) builtin.Controls          { return s }
func (s *scriptedSet) Roll() error                         { s.rolled.Add(1); return s.roll() }
func (s *scriptedSet) Quiet(bool) error                    { s.quiet(); return nil }
func (*scriptedSet) Crashes(string) (none builtin.Crashes) { return none }

func (s *scriptedSet) Status() builtin.SetStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status[0]
	if len(s.status) > 1 {
		s.status = s.status[1:]
	}
	status.Process = s.host.Process()
	return status
}

// tell makes these the operations that the set tells of, one after the other.
func (s *scriptedSet) tell(operations ...*builtin.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = nil
	for _, o := range operations {
		s.status = append(s.status, builtin.SetStatus{Operation: o})
	}
}

// live starts a node.
func (s *scriptedSet) live(ctx context.Context) {
	s.node, s.left = s.host.NewNode(worker.NodeConfig{}), make(chan struct{})
	go func() {
		defer close(s.left)
		_ = s.node.Serve(ctx)
	}()
	<-s.node.Running()
}

// operating runs a test, in a bubble, of what a command does with such a set.
func operating(t *testing.T, do func(ctx context.Context, s *scriptedSet, r *remoteSet, out *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		s := &scriptedSet{}
		s.tell(nil)
		var err error
		s.host, err = worker.NewHost(worker.HostConfig{Redis: cfg, App: worker.NewApp(), Set: s, Log: zerolog.Nop()})
		require.NoError(t, err)
		require.NoError(t, s.host.Open(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		go func() { defer close(served); _ = s.host.Serve(ctx) }()
		s.live(ctx)
		c := reaching(t, cfg)
		_, err = c.Dial(ctx)
		require.NoError(t, err)
		defer func() { // also where the test fails: nothing may stay in the bubble
			time.Sleep(time.Minute) // what the test let hang returns
			require.NoError(t, c.Close())
			cancel()
			<-s.left
			<-served
			require.NoError(t, s.host.Close(time.Minute))
		}()
		out := &bytes.Buffer{}
		do(ctx, s, &remoteSet{env: &cluster.Env{Settings: config.New(nil), Stdout: out}, client: c, process: s.host.Process(), gone: goneTime}, out)
	})
}

func TestOnlyAnOperationOfTheSameKindCanBeOnesOwnOnVirtualTime(t *testing.T) {
	for name, c := range map[string]struct {
		then   builtin.Operation // what the set tells after a call without an answer
		rolled int               // how often it is to be called
		err    error
	}{
		"its own":                         {builtin.Operation{Number: 4, Kind: builtin.OperationRoll}, 1, nil},
		"another's":                       {builtin.Operation{Number: 4, Kind: builtin.OperationReload}, 2, builtin.ErrSetBusy},
		"the one before":                  {builtin.Operation{Number: 3, Kind: builtin.OperationRoll, Ended: true}, 2, builtin.ErrSetBusy},
		"perhaps its own, then another's": {builtin.Operation{Number: 5, Kind: builtin.OperationReload}, 1, link.ErrUnknownOutcome},
	} {
		t.Run(name, func(t *testing.T) {
			operating(t, func(ctx context.Context, s *scriptedSet, r *remoteSet, _ *bytes.Buffer) {
				s.tell(&builtin.Operation{Number: 3, Kind: builtin.OperationRoll, Ended: true})
				s.roll = func() error {
					if s.rolled.Load() == 2 {
						return builtin.ErrSetBusy
					}
					s.tell(&c.then)
					time.Sleep(2 * answerTime)
					return nil
				}
				now, err := r.begin(ctx, "api.set.roll", builtin.OperationRoll)
				require.EqualValues(t, c.rolled, s.rolled.Load())
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
					return
				}
				require.NoError(t, err)
				require.Equal(t, c.then, *now.Operation)
			})
		})
	}
}

func TestWhetherItHasBegunIsAskedUntilANodeAnswersOnVirtualTime(t *testing.T) {
	operating(t, func(ctx context.Context, s *scriptedSet, r *remoteSet, _ *bytes.Buffer) {
		s.roll = func() error { // its only node takes the answer with it
			s.tell(&builtin.Operation{Number: 1, Kind: builtin.OperationRoll})
			s.node.Stop(worker.ErrRestart)
			time.Sleep(2 * answerTime)
			return nil
		}
		again := make(chan struct{})
		go func() {
			defer close(again)
			<-s.left
			time.Sleep(10 * time.Second)
			s.live(ctx)
		}()
		now, err := r.begin(ctx, "api.set.roll", builtin.OperationRoll)
		require.NoError(t, err)
		require.Equal(t, 1, now.Operation.Number)
		require.EqualValues(t, 1, s.rolled.Load())
		<-again
	})
}

func TestWhetherItHasBegunIsNotAskedForEverOnVirtualTime(t *testing.T) {
	operating(t, func(ctx context.Context, s *scriptedSet, r *remoteSet, _ *bytes.Buffer) {
		s.roll = func() error {
			s.node.Stop(worker.ErrRestart)
			time.Sleep(2 * answerTime)
			return nil
		}
		began := time.Now()
		_, err := r.begin(ctx, "api.set.roll", builtin.OperationRoll)
		require.ErrorIs(t, err, link.ErrUnknownOutcome)
		require.ErrorContains(t, err, "no node said within 1m0s whether it has begun")
		require.Less(t, time.Since(began), goneTime+4*answerTime)
		require.EqualValues(t, 1, s.rolled.Load())
	})
}

func TestACallThatFailsTwiceTellsBothFailuresOnVirtualTime(t *testing.T) {
	operating(t, func(ctx context.Context, s *scriptedSet, r *remoteSet, _ *bytes.Buffer) {
		s.quiet = func() {
			s.node.Stop(worker.ErrStop)
			time.Sleep(2 * answerTime)
		}
		_, err := r.ask(ctx, "api.set.quiet", nil)
		require.ErrorIs(t, err, link.ErrUnknownOutcome, "the first")
		require.ErrorIs(t, err, errNoNode, "the second")
	})
}

func TestTheResultOfAnotherOperationIsNotOnesOwnOnVirtualTime(t *testing.T) {
	operating(t, func(ctx context.Context, s *scriptedSet, r *remoteSet, out *bytes.Buffer) {
		s.tell(nil, &builtin.Operation{Number: 1, Kind: builtin.OperationRoll, Total: 3},
			&builtin.Operation{Number: 2, Kind: builtin.OperationReload, Total: 3, Done: 3, Ended: true})
		s.roll = func() error { return nil }
		err := r.restart(ctx, "api.set.roll", builtin.OperationRoll)
		require.ErrorContains(t, err, "the roll is over, and another operation, a reload, has begun since")
		require.NotContains(t, out.String(), "run anew")
	})
}

func TestAProcessThatEndedIsNotWaitedFor(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := reaching(t, cfg)
		defer c.Close()
		r := &remoteSet{client: c, process: membership.Process{Host: "elsewhere", PID: 4711}, gone: 300 * time.Millisecond}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := r.await(ctx, func(builtin.SetStatus, bool) bool { return false })
		require.ErrorContains(t, err, "process 4711 on elsewhere has had no live node for 300ms")
	})
}
