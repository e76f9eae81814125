package flight_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stellarfw/stellar/redisbus/flight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const trip = 10 * time.Millisecond // of one flight

// line is a queue whose flights take a while and are noted.
type line struct {
	*flight.Queue[string]

	mu      sync.Mutex
	flights []string
}

func newLine(l flight.Limits) *line {
	n := &line{}
	n.Queue = flight.New(l, func(s string) int { return len(s) }, func(_ context.Context, items []flight.Item[string]) {
		var all []string
		for _, i := range items {
			all = append(all, i.Value)
		}
		n.mu.Lock()
		n.flights = append(n.flights, strings.Join(all, " "))
		n.mu.Unlock()
		time.Sleep(trip)
	})
	return n
}

func (n *line) sent() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.flights)
}

// occupy is a lone caller's flight that takes a trip.
func (n *line) occupy(t *testing.T) {
	require.True(t, n.Start())
	go func() {
		time.Sleep(trip)
		n.End(t.Context())
	}()
}

// post has callers wait, in this order.
func (n *line) post(t *testing.T, items ...string) {
	for _, item := range items {
		go func() {
			sent, err := n.Wait(t.Context(), item)
			if !sent || err != nil {
				t.Error(item, sent, err)
			}
		}()
		synctest.Wait()
	}
}

func TestALoneCallerGoesAtOnceAndOthersTogetherAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, began := newLine(flight.Limits{Flights: 1, Items: 100, Bytes: 1000}), time.Now()
		for range 3 {
			require.True(t, n.Start(), "nothing is on its way")
			n.End(t.Context())
		}
		require.Zero(t, time.Since(began))
		require.Empty(t, n.sent(), "a lone caller sends by itself")

		n.occupy(t)
		require.False(t, n.Start())
		n.post(t, "a", "b", "c")
		time.Sleep(trip)
		synctest.Wait()
		require.Equal(t, []string{"a b c"}, n.sent())
		n.post(t, "d", "e")
		time.Sleep(trip)
		synctest.Wait()
		require.Equal(t, []string{"a b c", "d e"}, n.sent())
		time.Sleep(trip)
		synctest.Wait()
		require.True(t, n.Start(), "all have landed")
		n.End(t.Context())
	})
}

func TestFlightsAreBoundedByItemsAndBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(flight.Limits{Flights: 1, Items: 3, Bytes: 10})
		n.occupy(t)
		n.post(t, "1", "2", "3", "4", "55555", "666666", "larger than ten", "7", "888888888", "9")
		time.Sleep(10 * trip)
		require.Equal(t, []string{"1 2 3", "4 55555", "666666", "larger than ten", "7 888888888", "9"}, n.sent())
	})
}

func TestSeveralFlightsMayBeOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(flight.Limits{Flights: 2, Items: 1, Bytes: 10})
		n.occupy(t)
		time.Sleep(trip / 2)
		n.occupy(t)
		require.False(t, n.Start())
		began := time.Now()
		n.post(t, "a", "b", "c", "d")
		time.Sleep(trip/2 + 1)
		require.Equal(t, []string{"a"}, n.sent())
		n.Close()
		require.Equal(t, []string{"a", "b", "c", "d"}, n.sent())
		require.Equal(t, 3*trip, time.Since(began), "two at a time, the second half a trip later")
	})
}

func TestWhoGivesUpBeforeItsFlightIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(flight.Limits{Flights: 1, Items: 9, Bytes: 100})
		n.occupy(t)
		n.post(t, "a")
		ctx, cancel := context.WithTimeout(t.Context(), trip/2)
		defer cancel()
		sent, err := n.Wait(ctx, "never")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, sent)
		n.post(t, "b")

		ctx, cancel = context.WithTimeout(t.Context(), trip)
		defer cancel()
		sent, err = n.Wait(ctx, "c")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, sent, "it was on its way")
		n.Close()
		require.Equal(t, []string{"a b c"}, n.sent())
	})
}

func TestWaitSendsWhenAFlightHasEndedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(flight.Limits{Flights: 1, Items: 9, Bytes: 100})
		sent, err := n.Wait(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, sent)
		require.Equal(t, []string{"a"}, n.sent())
	})
}

func TestCloseSendsWhatWaitsAndRefusesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLine(flight.Limits{Flights: 2, Items: 1, Bytes: 100})
		n.occupy(t)
		n.occupy(t)
		n.post(t, "a", "b", "c")
		var closing sync.WaitGroup
		for range 2 {
			closing.Go(n.Close)
		}
		synctest.Wait()
		require.False(t, n.Start())
		sent, err := n.Wait(t.Context(), "late")
		require.ErrorIs(t, err, flight.ErrClosed)
		require.False(t, sent)
		closing.Wait()
		require.Len(t, n.sent(), 3)
		n.Close()
		newLine(flight.Limits{Flights: 1, Items: 1, Bytes: 1}).Close()
	})
}

// Every item is sent once, whoever comes, goes or gives up.
func TestNothingIsLostOrSentTwice(t *testing.T) {
	var sent, given atomic.Int64
	counts := make([]atomic.Int32, 64*200)
	q := flight.New(flight.Limits{Flights: 2, Items: 16, Bytes: 1 << 20}, func(int) int { return 8 },
		func(_ context.Context, items []flight.Item[int]) {
			for _, i := range items {
				counts[i.Value].Add(1)
				sent.Add(1)
			}
		})
	var all sync.WaitGroup
	for caller := range 64 {
		all.Go(func() {
			for i := range 200 {
				id := caller*200 + i
				ctx, cancel := context.WithCancel(context.Background())
				if i%7 == 0 {
					cancel()
				}
				if q.Start() {
					counts[id].Add(1)
					q.End(ctx)
				} else if was, err := q.Wait(ctx, id); !was && err != nil {
					given.Add(1)
					counts[id].Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	q.Close()
	for id := range counts {
		require.EqualValues(t, 1, counts[id].Load(), id)
	}
	t.Log(sent.Load(), "together,", given.Load(), "given up")
}
