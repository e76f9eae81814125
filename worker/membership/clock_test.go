package membership_test

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/membership"
)

// longest is the longest reservation of a hand-over in these tests.
const longest = 35 * time.Second

// stepped is a cluster whose Redis has a clock that the test steps.
type stepped struct {
	*redistest.Clock

	t *testing.T
	d membership.Directory
}

func eachStepped(t *testing.T, scenario func(t *testing.T, s *stepped, cfg link.Config)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		clock := &redistest.Clock{}
		cfg = clock.Through(cfg)
		d, _ := open(t, cfg)
		scenario(t, &stepped{Clock: clock, t: t, d: d}, cfg)
	})
}

func (s *stepped) join(lease time.Duration) *membership.Lease {
	return join(s.t, membership.NewKeeper(s.d, membership.Times{Lease: lease}, zerolog.Nop()), membership.JoinRequest{})
}

// look returns what may be taken over.
func (s *stepped) look(lease time.Duration) []membership.Incarnation {
	e, err := s.d.Expired(s.t.Context(), lease, longest, 10)
	require.NoError(s.t, err)
	return e
}

// pass lets time pass in steps in which all processes look.
func (s *stepped) pass(d time.Duration) {
	for ; d > 0; d -= 2 * time.Second {
		s.Step(2 * time.Second)
		s.look(membership.DefaultLease)
	}
}

func TestAClockAheadAndBackHoldsBackNobodyForLongerThanALease(t *testing.T) {
	eachStepped(t, func(t *testing.T, s *stepped, cfg link.Config) {
		k := membership.NewKeeper(s.d, membership.Times{Heartbeat: time.Millisecond}, zerolog.Nop())
		s.look(membership.DefaultLease)
		dead := join(t, k, membership.JoinRequest{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		s.Step(time.Hour)
		go func() { _ = k.Serve(ctx); close(done) }()
		require.Empty(t, s.look(membership.DefaultLease), "it could not renew yet")
		require.Eventually(t, func() bool {
			at, err := s.d.Client.ZScore(t.Context(), cfg.Keys().Leases(), dead.Incarnation.String()).Result()
			return err == nil && time.UnixMilli(int64(at)).After(time.Now().Add(time.Hour))
		}, time.Minute, time.Millisecond, "it renews on the clock that is ahead, and dies")
		cancel()
		<-done
		s.Step(-time.Hour)
		s.pass(14 * time.Second)
		require.Empty(t, s.look(membership.DefaultLease), "it may still be alive")
		s.pass(4 * time.Second)
		require.Equal(t, []membership.Incarnation{dead.Incarnation}, s.look(membership.DefaultLease))
	})
}

func TestALeaseIsCutToItsOwnLength(t *testing.T) {
	eachStepped(t, func(t *testing.T, s *stepped, cfg link.Config) {
		s.Step(time.Hour)
		long, short := s.join(time.Minute), s.join(10*time.Second)
		older := s.join(20 * time.Second) // of a version that notes no length
		record, err := s.d.Client.HGet(t.Context(), cfg.Keys().Members(), older.Incarnation.ID).Result()
		require.NoError(t, err)
		require.Contains(t, record, `"lease":20000`)
		require.NoError(t, s.d.Client.HSet(t.Context(), cfg.Keys().Members(), older.Incarnation.ID, record[:len(record)-len(`,"lease":20000}`)]+"}").Err())
		s.Step(-time.Hour)
		s.pass(14 * time.Second)
		require.Equal(t, []membership.Incarnation{short.Incarnation}, s.look(membership.DefaultLease))
		s.pass(44 * time.Second)
		require.Equal(t, []membership.Incarnation{short.Incarnation}, s.look(membership.DefaultLease), "a lease of a minute lasts a minute")
		s.pass(4 * time.Second)
		require.Equal(t, []membership.Incarnation{short.Incarnation, long.Incarnation}, s.look(membership.DefaultLease))
	})
}

func TestAReservationOnAClockAheadEnds(t *testing.T) {
	eachStepped(t, func(t *testing.T, s *stepped, _ link.Config) {
		s.look(membership.DefaultLease)
		l := s.join(membership.DefaultLease)
		s.Step(time.Hour)
		v, err := s.d.Condemn(t.Context(), l.Incarnation, false, 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, membership.Condemned, v)
		s.Step(-time.Hour) // who reserved the hand-over dies
		s.pass(34 * time.Second)
		require.Empty(t, s.look(membership.DefaultLease), "its hand-over may have been reserved for that long")
		s.pass(6 * time.Second)
		require.Len(t, s.look(membership.DefaultLease), 1)
	})
}

func TestTheHoldOfAClockAheadIsOneLease(t *testing.T) {
	eachStepped(t, func(t *testing.T, s *stepped, _ link.Config) {
		s.look(membership.DefaultLease)
		l := s.join(membership.DefaultLease)
		s.Step(time.Hour)
		require.Empty(t, s.look(membership.DefaultLease), "held")
		s.Step(20*time.Second - time.Hour)
		require.Empty(t, s.look(membership.DefaultLease), "the clock may have been ahead while others were away")
		s.pass(16 * time.Second)
		require.Equal(t, []membership.Incarnation{l.Incarnation}, s.look(membership.DefaultLease))
	})
}
