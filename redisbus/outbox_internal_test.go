package redisbus

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFloodOfOneBusHoldsNoOtherUp(t *testing.T) {
	o := NewOutbox(nil)
	flood, calm := &lane{Outbox: o}, &lane{Outbox: o}
	put := func(l *lane, text string) (lead bool, err error) {
		return l.put(posting{channel: text}, time.Now(), func(to []byte, _ uint64) []byte { return append(to, text...) })
	}
	lead, err := put(flood, "0")
	require.NoError(t, err)
	require.True(t, lead)
	for i := range maxQueued - 1 {
		lead, err = put(flood, strconv.Itoa(i+1))
		require.NoError(t, err)
		require.False(t, lead)
	}
	_, err = put(flood, "one more")
	require.ErrorIs(t, err, ErrCongested)

	first := o.next(nil)
	require.Len(t, first.postings, maxPipeline)
	lead, err = put(calm, "calm")
	require.NoError(t, err, "each bus has a bound of its own")
	require.True(t, lead, "another pipeline may go")
	second := o.next(nil)
	require.Len(t, second.postings, 1, "messages of a bus are in one pipeline at a time")
	_, err = put(calm, "again")
	require.NoError(t, err)
	second = o.next(second)
	require.Len(t, second.postings, 1)
	third := o.next(first)
	require.Len(t, third.postings, maxPipeline)
	for i, p := range third.postings {
		require.Equal(t, strconv.Itoa(maxPipeline+i), p.channel, "in order")
	}
}

func TestPipelineIsSharedOutAmongTheBuses(t *testing.T) {
	o := NewOutbox(nil)
	for l := range 2 * maxPipeline {
		bus := &lane{Outbox: o}
		for range 3 + l%2 {
			_, err := bus.put(posting{}, time.Now(), func(to []byte, _ uint64) []byte { return to })
			require.NoError(t, err)
		}
	}
	sent, pipelines := 0, 0
	for b := o.next(nil); b != nil; b = o.next(b) {
		require.LessOrEqual(t, len(b.postings), maxPipeline)
		seen := map[*lane]bool{}
		for _, l := range b.lanes {
			require.False(t, seen[l])
			seen[l] = true
		}
		sent += len(b.postings)
		pipelines++
	}
	require.Equal(t, 7*maxPipeline, sent)
	require.Less(t, pipelines, 2*7)
	require.Empty(t, o.ready)
}
