package membership_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/membership"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func open(t *testing.T, cfg link.Config) (membership.Directory, *membership.Keeper) {
	t.Helper()
	d := membership.Directory{Client: redistest.Client(t, cfg), Keys: cfg.Keys()}
	return d, membership.NewKeeper(d, membership.Times{}, zerolog.Nop())
}

func join(t *testing.T, k *membership.Keeper, r membership.JoinRequest) *membership.Lease {
	t.Helper()
	if r.Prefix == "" {
		r.Prefix = "w"
	}
	l, err := k.Join(t.Context(), r)
	require.NoError(t, err)
	t.Cleanup(l.Release)
	return l
}

func leave(t *testing.T, d membership.Directory, l *membership.Lease) {
	t.Helper()
	l.Release()
	v, err := d.Condemn(t.Context(), l.Incarnation, false, 0)
	require.NoError(t, err)
	require.Equal(t, membership.Condemned, v)
	did, err := d.Leave(t.Context(), l.Incarnation)
	require.NoError(t, err)
	require.True(t, did)
}

func TestConcurrentJoinsGetDistinctLowestNumbers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		const n = 50
		var mu sync.Mutex
		seen, epochs := map[string]bool{}, map[int64]bool{}
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				l, err := k.Join(context.Background(), membership.JoinRequest{Prefix: "w"})
				if err != nil {
					t.Error(err)
					return
				}
				defer l.Release()
				mu.Lock()
				defer mu.Unlock()
				seen[l.Incarnation.ID] = true
				epochs[l.Incarnation.Epoch] = true
			})
		}
		wg.Wait()
		require.Len(t, epochs, n)
		for i := range n {
			require.True(t, seen[fmt.Sprintf("w-%d", i+1)], i+1)
		}
		members, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, members, n)
		require.Equal(t, "w-2", members[1].Incarnation.ID)
		require.Equal(t, "w-10", members[9].Incarnation.ID, "ordered by number")
	})
}

func TestAFreedNumberIsTakenAgainAndAPreferredOneKept(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		a, b, c := join(t, k, membership.JoinRequest{}), join(t, k, membership.JoinRequest{}), join(t, k, membership.JoinRequest{})
		leave(t, d, a)
		leave(t, d, c)
		require.Equal(t, "w-3", join(t, k, membership.JoinRequest{Prefer: "w-3"}).Incarnation.ID)
		require.Equal(t, "w-1", join(t, k, membership.JoinRequest{Prefer: "w-3"}).Incarnation.ID, "taken: the lowest free one")
		require.Equal(t, "w-4", join(t, k, membership.JoinRequest{Prefer: "other-1"}).Incarnation.ID)
		require.Equal(t, "w-2", b.Incarnation.ID)
		did, err := d.Leave(t.Context(), a.Incarnation)
		require.NoError(t, err)
		require.False(t, did, "it has left before, and w-1 is somebody else now")
		members, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, members, 4)
	})
}

func TestWhoIsCondemnedGivesUpItsIDBeforeItIsSettled(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		old := join(t, k, membership.JoinRequest{})
		did, err := d.Vacate(t.Context(), old.Incarnation)
		require.NoError(t, err)
		require.False(t, did, "it lives")
		require.Equal(t, "w-2", join(t, k, membership.JoinRequest{}).Incarnation.ID)
		old.Release()
		_, err = d.Condemn(t.Context(), old.Incarnation, false, 0)
		require.NoError(t, err)
		for range 2 {
			did, err = d.Vacate(t.Context(), old.Incarnation)
			require.NoError(t, err)
			require.True(t, did)
		}
		next := join(t, k, membership.JoinRequest{})
		require.Equal(t, "w-1", next.Incarnation.ID)
		require.EqualValues(t, 3, d.Client.ZCard(t.Context(), d.Keys.Leases()).Val(), "it is still to be settled")
		did, err = d.Leave(t.Context(), old.Incarnation)
		require.NoError(t, err)
		require.True(t, did)
		members, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, members, 2)
		require.Equal(t, next.Incarnation, members[0].Incarnation, "the new one keeps the id")
		require.Equal(t, "w-3", join(t, k, membership.JoinRequest{}).Incarnation.ID, "and its number")
	})
}

func TestWhoHasLeftIsGone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		l := join(t, k, membership.JoinRequest{})
		leave(t, d, l)
		for _, expired := range []bool{false, true} {
			v, err := d.Condemn(t.Context(), l.Incarnation, expired, time.Second)
			require.NoError(t, err)
			require.Equal(t, membership.Gone, v)
		}
		did, err := d.Vacate(t.Context(), l.Incarnation)
		require.NoError(t, err)
		require.False(t, did)
		require.Zero(t, d.Client.Exists(t.Context(), d.Keys.Leases()).Val(), "nothing was written")
	})
}

func TestAnExactIDIsTakenOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		_, k := open(t, cfg)
		require.Equal(t, "w-2", join(t, k, membership.JoinRequest{ID: "w-2"}).Incarnation.ID)
		_, err := k.Join(t.Context(), membership.JoinRequest{ID: "w-2"})
		require.ErrorIs(t, err, membership.ErrIDTaken)
		require.ErrorContains(t, err, "choose another id")
		require.Equal(t, "w-1", join(t, k, membership.JoinRequest{}).Incarnation.ID)
		require.Equal(t, "w-3", join(t, k, membership.JoinRequest{}).Incarnation.ID)
		require.Equal(t, "main", join(t, k, membership.JoinRequest{ID: "main"}).Incarnation.ID)
	})
}

func TestForeignKeysAreNamedAndKept(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		require.NoError(t, d.Client.Set(t.Context(), d.Keys.Members(), "mine", 0).Err())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := k.Join(ctx, membership.JoinRequest{Prefix: "w"})
		require.ErrorContains(t, err, d.Keys.Members())
		require.Equal(t, "mine", d.Client.Get(t.Context(), d.Keys.Members()).Val())
		mended := time.AfterFunc(20*time.Millisecond, func() { d.Client.Del(context.WithoutCancel(t.Context()), d.Keys.Members()) })
		defer mended.Stop()
		join(t, k, membership.JoinRequest{}) // it waits until the key is mended
	})
}

// A key of the wrong type says nothing about who holds a lease.
func TestLeasesOutliveAForeignKeyInTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		d, _ := open(t, server.Config())
		var log strings.Builder
		k := membership.NewKeeper(d, membership.Times{}, zerolog.New(&log))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = k.Serve(ctx); close(done) }()
		l := join(t, k, membership.JoinRequest{})

		leases := d.Keys.Leases()
		require.NoError(t, d.Client.Rename(t.Context(), leases, "aside").Err())
		require.NoError(t, d.Client.RPush(t.Context(), leases, "mine").Err())
		time.Sleep(6 * time.Second)
		require.NoError(t, l.Context().Err(), "nobody took over")
		require.NoError(t, d.Client.Rename(t.Context(), "aside", leases).Err())
		time.Sleep(12 * time.Second)
		require.NoError(t, l.Context().Err(), "it is renewed again")

		require.NoError(t, d.Client.Del(t.Context(), leases).Err())
		require.NoError(t, d.Client.RPush(t.Context(), leases, "mine").Err())
		time.Sleep(11 * time.Second)
		require.ErrorIs(t, context.Cause(l.Context()), membership.ErrLeaseLost)
		require.ErrorContains(t, context.Cause(l.Context()), "not renewed")
		cancel()
		<-done
		require.Contains(t, log.String(), leases)
		require.Contains(t, log.String(), "it is a list, a zset is needed")
	})
}

func TestLeasesAreRenewedAndEndTheirContextWhenLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		d, k := open(t, server.Config())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = k.Serve(ctx); close(done) }()
		defer func() { cancel(); <-done }()

		kept := join(t, k, membership.JoinRequest{})
		taken := join(t, k, membership.JoinRequest{})
		var moving atomic.Bool
		moving.Store(true)
		still := join(t, k, membership.JoinRequest{Alive: moving.Load})
		time.Sleep(time.Minute)
		require.NoError(t, kept.Context().Err())
		expired, err := d.Expired(t.Context(), membership.DefaultLease, longest, 10)
		require.NoError(t, err)
		require.Empty(t, expired)

		_, err = d.Condemn(t.Context(), taken.Incarnation, false, 0)
		require.NoError(t, err)
		time.Sleep(6 * time.Second)
		require.ErrorIs(t, context.Cause(taken.Context()), membership.ErrLeaseLost, "condemned by another")

		moving.Store(false)
		time.Sleep(16 * time.Second)
		require.ErrorIs(t, context.Cause(still.Context()), membership.ErrLeaseLost, "a node that does not move is not renewed")

		server.Break("LOADING Redis is loading the dataset in memory")
		time.Sleep(4 * time.Second)
		require.NoError(t, kept.Context().Err())
		time.Sleep(7 * time.Second)
		require.ErrorIs(t, context.Cause(kept.Context()), membership.ErrLeaseLost, "10 s after the last renewal was sent")
	})
}

func TestExpiredLeasesWaitAfterATimeInWhichNobodyCouldLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		d, k := open(t, server.Config())
		look := func() []membership.Incarnation {
			e, err := d.Expired(t.Context(), membership.DefaultLease, longest, 10)
			require.NoError(t, err)
			return e
		}
		l := join(t, k, membership.JoinRequest{})
		for range 8 {
			require.Empty(t, look())
			time.Sleep(2 * time.Second)
		}
		require.Equal(t, []membership.Incarnation{l.Incarnation}, look())
		v, err := d.Condemn(t.Context(), l.Incarnation, true, 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, membership.Condemned, v)
		require.Empty(t, look(), "another settles it")
		v, err = d.Condemn(t.Context(), l.Incarnation, true, 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, membership.StillLive, v)
		time.Sleep(6 * time.Second)
		require.Len(t, look(), 1, "the other died over it")

		time.Sleep(time.Minute) // Redis was away, or everybody was paused
		for range 7 {
			require.Empty(t, look())
			time.Sleep(2 * time.Second)
		}
		time.Sleep(2 * time.Second)
		require.Len(t, look(), 1, "one lease later")
	})
}

func TestIncarnationsParse(t *testing.T) {
	i := membership.Incarnation{ID: "a-b:c.1", Epoch: 17, Nonce: "00ff"}
	got, err := membership.Parse(i.String())
	require.NoError(t, err)
	require.Equal(t, i, got)
	for _, bad := range []string{"", "a", "a#1", "a#x:ff", "#1:ff", "a#1:"} {
		_, err := membership.Parse(bad)
		require.Error(t, err, bad)
	}
	require.Negative(t, membership.CompareIDs("w-2", "w-10"))
	require.Positive(t, membership.CompareIDs("w-10", "w-9"))
	require.Zero(t, membership.CompareIDs("x", "x"))
}

func TestADamagedMemberRecordHidesNoOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		sound, damaged := join(t, k, membership.JoinRequest{}), join(t, k, membership.JoinRequest{})
		later := float64(time.Now().Add(time.Hour).UnixMilli())
		for id, record := range map[string]string{
			damaged.Incarnation.ID: damaged.Incarnation.String() + "\nsoon\nrunning\n{", "w-3": "w-3#1:00", "x": "x",
		} {
			require.NoError(t, d.Client.HSet(t.Context(), d.Keys.Members(), id, record).Err())
			name, _, _ := strings.Cut(record, "\n")
			require.NoError(t, d.Client.ZAddNX(t.Context(), d.Keys.Leases(), redis.Z{Score: later, Member: name}).Err())
		}
		members, err := d.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, sound.Incarnation, members[0].Incarnation)
		require.Equal(t, damaged.Incarnation, members[1].Incarnation)
		require.True(t, members[1].Live)

		require.NoError(t, d.Client.ZAdd(t.Context(), d.Keys.Leases(), redis.Z{Score: 1, Member: "x"},
			redis.Z{Score: 2, Member: damaged.Incarnation.String()}).Err())
		expired, err := d.Expired(t.Context(), membership.DefaultLease, longest, 10)
		require.NoError(t, err)
		require.Equal(t, []membership.Incarnation{damaged.Incarnation}, expired)
	})
}

func TestLiveAreThoseWhoseLeaseHasNotRunOut(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		live, expired, condemned, left := join(t, k, membership.JoinRequest{}), join(t, k, membership.JoinRequest{}),
			join(t, k, membership.JoinRequest{}), join(t, k, membership.JoinRequest{})
		leave(t, d, left)
		_, err := d.Condemn(t.Context(), condemned.Incarnation, false, time.Minute)
		require.NoError(t, err)
		expired.Release()
		require.NoError(t, d.Client.ZAdd(t.Context(), d.Keys.Leases(), redis.Z{Score: 2, Member: expired.Incarnation.String()},
			redis.Z{Score: 1e15, Member: "not ours"}).Err())
		found, err := d.Live(t.Context())
		require.NoError(t, err)
		require.Equal(t, []redisbus.Identity{{ID: live.Incarnation.ID, Incarnation: live.Incarnation.String()}}, found)
	})
}

func TestEntriesThatAreNotOursArePassedOverAndTold(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		d, k := open(t, cfg)
		told := map[string]bool{}
		d.OnAlien = func(key, _ string) { told[key] = true }
		dead := join(t, k, membership.JoinRequest{})
		aliens := []redis.Z{{Score: math.Inf(1), Member: "x#1:aa"}, {Score: math.Inf(-1), Member: "#"}, {Score: 1.5, Member: "y#99999999999999999999:aa"}}
		for i := range 2000 { // they come before the dead one
			aliens = append(aliens, redis.Z{Score: float64(i%100) + 0.5, Member: fmt.Sprint("alien ", i)})
		}
		aliens = append(aliens, redis.Z{Score: 200, Member: dead.Incarnation.String()})
		require.NoError(t, d.Client.ZAdd(t.Context(), d.Keys.Leases(), aliens...).Err())
		require.NoError(t, d.Client.HSet(t.Context(), d.Keys.Members(),
			"x", "x#1:aa\n1\nrunning\n{}", "copy", dead.Incarnation.String()+"\n1\nrunning\n{}", "", "\xff").Err())
		require.NoError(t, d.Client.HSet(t.Context(), d.Keys.Reaping(), "looked", "soon", "hold", "1e400", "cut", "[]").Err())
		expired, err := d.Expired(t.Context(), membership.DefaultLease, longest, 10)
		require.NoError(t, err)
		require.Equal(t, []membership.Incarnation{dead.Incarnation}, expired)
		members, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, members, 1)
		require.Equal(t, dead.Incarnation, members[0].Incarnation)
		require.Equal(t, map[string]bool{d.Keys.Leases(): true, d.Keys.Members(): true}, told)

		require.NoError(t, d.Client.Set(t.Context(), d.Keys.Epoch(), "soon", 0).Err())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = k.Join(ctx, membership.JoinRequest{Prefix: "w"})
		require.ErrorContains(t, err, d.Keys.Epoch(), "a number that everything depends on is named, not guessed")
	})
}
