package tasks_test

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// steppedTicks is a cluster with one periodic task, whose processes start anew after
// each step of Redis's clock: so nothing has to wait for a heartbeat.
type steppedTicks struct {
	*redistest.Clock
	*cluster

	registry *tasks.Registry
	log      bytes.Buffer
	mu       sync.Mutex
	ran      []time.Time // ticks, in their order
	hold     chan struct{}
}

// eachStepped calls scenario for an hour and for longer than ids stay taken.
func eachStepped(t *testing.T, p tasks.Periodic, scenario func(t *testing.T, s *steppedTicks, every time.Duration)) {
	t.Helper()
	for _, every := range []time.Duration{10 * time.Minute, 10 * time.Hour} {
		t.Run(every.String(), func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				s := &steppedTicks{Clock: &redistest.Clock{}, registry: &tasks.Registry{}}
				p := p
				p.Task, p.Schedule = "tick", tasks.Every(every)
				s.registry.RegisterPeriodic(p)
				tasks.Handle(s.registry, tasks.Definition{Name: "tick"}, func(ctx context.Context, _ any) error {
					if s.hold != nil {
						<-s.hold
					}
					ms, err := strconv.ParseInt(strings.TrimPrefix(tasks.InfoOf(ctx).ID, "tick:"), 10, 64)
					s.mu.Lock()
					defer s.mu.Unlock()
					s.ran = append(s.ran, time.UnixMilli(ms))
					return err
				})
				s.cluster = newCluster(t, s.Through(cfg), s.registry)
				scenario(t, s, every)
			})
		})
	}
}

func (s *steppedTicks) now() time.Time {
	s.t.Helper()
	now, err := s.redis.Time(s.t.Context()).Result()
	require.NoError(s.t, err)
	return now
}

// lastTick returns the latest tick that is not later than now.
func (s *steppedTicks) lastTick(every time.Duration) time.Time {
	s.t.Helper()
	now := s.now()
	return time.UnixMilli(now.UnixMilli() - now.UnixMilli()%every.Milliseconds())
}

// last returns the last tick as Redis has it.
func (s *steppedTicks) last() time.Time {
	text, _, _ := strings.Cut(s.redis.HGet(s.t.Context(), s.keys.Periodic(), "tick").Val(), "|")
	return queue.Time(text)
}

// tick runs a process until the last tick is what it must be now.
func (s *steppedTicks) tick(last time.Time) {
	s.t.Helper()
	ticker := runner.NewTicker(s.redis, s.keys, s.registry, zerolog.New(&s.log))
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() { _ = ticker.Serve(ctx); close(done) }()
	s.eventually("the tick", func() bool { return !s.last().IsZero() && !s.last().Before(last) && !s.last().After(s.now()) })
	cancel()
	<-done
}

// process runs a process with a node until nothing waits or runs.
func (s *steppedTicks) process(last time.Time) {
	s.t.Helper()
	s.tick(last)
	n := s.start(s.registry, 1)
	s.eventually("the runs", func() bool { c := s.counts(); return c.Pending+c.Active == 0 })
	n.stop()
	for more := true; more; {
		moved, err := queue.NewStore(s.redis, s.keys).MoveDue(s.t.Context(), queue.Look{Mover: "m", Visit: queue.VisitReady, Most: 500, KeepFor: tasks.KeepDeadFor, Keep: tasks.KeepDead})
		require.NoError(s.t, err)
		more = moved.More
	}
}

func TestTicksOfAClockThatWasAheadGoOnAndRunOnce(t *testing.T) {
	eachStepped(t, tasks.Periodic{CatchUp: true}, func(t *testing.T, s *steppedTicks, every time.Duration) {
		s.tick(time.Time{})
		first := s.lastTick(every)
		s.Step(6 * every)
		s.tick(s.lastTick(every))
		s.hold = make(chan struct{}) // it runs still when the clock has gone back
		n := s.start(s.registry, 1)
		s.eventually("the run", func() bool { return s.counts().Active == 1 })
		s.Step(-6 * every)
		close(s.hold)
		s.eventually("the end", func() bool { return s.counts().Active == 0 })
		n.stop()
		require.Equal(t, []time.Time{first.Add(6 * every)}, s.ran)
		require.NotContains(t, s.log.String(), "lay in the future")

		s.process(s.now().Add(-every))
		require.Contains(t, s.log.String(), "lay in the future")
		require.Len(t, s.ran, 1)
		want := s.ran[:1:1]
		for i := 1; i < 8; i++ {
			s.Step(every)
			s.process(first.Add(time.Duration(i) * every))
			if i != 6 {
				want = append(want, first.Add(time.Duration(i)*every))
			}
			require.Equal(t, want, s.ran)
		}
		require.Equal(t, 1, strings.Count(s.log.String(), "lay in the future"))
	})
}

func TestTheTicksOfAPauseNeverRun(t *testing.T) {
	for _, catchUp := range []bool{true, false} {
		eachStepped(t, tasks.Periodic{CatchUp: catchUp}, func(t *testing.T, s *steppedTicks, every time.Duration) {
			s.tick(time.Time{})
			require.NoError(t, s.inspector.PausePeriodic(t.Context(), "tick", true))
			next := s.lastTick(every).Add(every)
			s.Step(next.Sub(s.now()).Truncate(time.Second) + 2*time.Second) // 2 s at most after a tick, with nobody there
			require.NoError(t, s.inspector.PausePeriodic(t.Context(), "tick", false))
			resumed := s.last()
			require.False(t, resumed.Before(next))
			require.NoError(t, s.inspector.PausePeriodic(t.Context(), "tick", false))
			require.Equal(t, resumed, s.last(), "it was not paused")
			s.process(resumed)
			require.Empty(t, s.ran)
			s.Step(every)
			s.process(next.Add(every))
			require.Equal(t, []time.Time{next.Add(every)}, s.ran)
		})
	}
}
