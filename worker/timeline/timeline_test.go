package timeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/timeline"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var self = timeline.Process{Host: "here", PID: 7, Program: "shop", Version: "v1"}

// recorder returns a recorder that serves until the test ends.
func recorder(t *testing.T, cfg link.Config, p timeline.Process) (*timeline.Recorder, *redistest.Hook) {
	t.Helper()
	f := &redistest.Hook{}
	client := redistest.Client(t, cfg)
	client.AddHook(f)
	return timeline.NewRecorder(client, cfg.Keys(), p, zerolog.Nop()), f
}

func serve(t *testing.T, r *timeline.Recorder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = r.Serve(ctx); close(done) }()
	return func() { cancel(); <-done }
}

func list(t *testing.T, cfg link.Config, f timeline.Filter) []timeline.Event {
	t.Helper()
	events, err := timeline.New(redistest.Client(t, cfg), cfg.Keys(), "ada", self).List(t.Context(), f)
	require.NoError(t, err)
	return events
}

func words(events []timeline.Event) (all []string) {
	for _, e := range events {
		all = append(all, e.Words())
	}
	return all
}

func TestAnEventIsReadAsItWasRecorded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		r, _ := recorder(t, cfg, self)
		before := redistest.Client(t, cfg).Time(t.Context()).Val()
		r.Record(timeline.Event{Kind: timeline.Crash, Nodes: []string{"w-1"}, Text: "boom\n\x1b[2J", Stack: strings.Repeat("s", 9000)})
		r.Record(timeline.Event{Kind: timeline.Scale, Text: "from 1 to 2 nodes", By: "ada@desk"})
		require.NoError(t, r.Flush(t.Context()))
		events := list(t, cfg, timeline.Filter{})
		require.Len(t, events, 2)
		crash, scale := events[0], events[1]
		require.WithinRange(t, crash.At, before.Add(-time.Millisecond), before.Add(time.Minute))
		require.Len(t, crash.Stack, timeline.MaxStack+len("…"))
		require.Equal(t, timeline.Event{
			ID: scale.ID, At: scale.At, Count: 1, Kind: timeline.Scale, Text: "from 1 to 2 nodes", By: "ada@desk", Process: self,
		}, scale)
		require.Equal(t, []string{"w-1 crashed: boom\n\x1b[2J", "from 1 to 2 nodes"}, words(events))
		require.Len(t, list(t, cfg, timeline.Filter{Kinds: []timeline.Kind{timeline.Crash}}), 1)
		require.Len(t, list(t, cfg, timeline.Filter{Node: "w-1"}), 1)
		require.Len(t, list(t, cfg, timeline.Filter{After: crash.ID}), 1)
		require.Equal(t, timeline.Scale, list(t, cfg, timeline.Filter{Limit: 1})[0].Kind, "the latest")
		require.Empty(t, list(t, cfg, timeline.Filter{Since: before.Add(time.Hour)}))
		require.Empty(t, list(t, cfg, timeline.Filter{Until: before.Add(-time.Hour)}))
	})
}

// A reply that is lost makes no event come twice, nor one of those with it.
func TestAnEventIsWrittenOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		r, f := recorder(t, cfg, self)
		for i := range 3 {
			r.Record(timeline.Event{Kind: timeline.Mark, Text: fmt.Sprint(i)})
		}
		f.Lose.Store(2)
		require.Error(t, r.Flush(t.Context()))
		r.Record(timeline.Event{Kind: timeline.Mark, Text: "3"})
		require.Error(t, r.Flush(t.Context()))
		require.NoError(t, r.Flush(t.Context()))
		// Their times are as exact as a request is fast: those of two requests may be the wrong way round.
		require.ElementsMatch(t, []string{"0", "1", "2", "3"}, words(list(t, cfg, timeline.Filter{})))
	})
}

// While Redis is away events wait, and have the time at which they happened when it is back.
func TestEventsOfAnOutageAreToldAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		r, f := recorder(t, cfg, self)
		stop := serve(t, r)
		f.Cut.Store(true)
		r.Record(timeline.Event{Kind: timeline.LeaseLost, Nodes: []string{"w-1"}})
		happened := time.Now()
		time.Sleep(10 * time.Minute)
		require.Empty(t, list(t, cfg, timeline.Filter{}))
		r.Record(timeline.Event{Kind: timeline.Mark, Text: "later"})
		f.Cut.Store(false)
		time.Sleep(5 * time.Second)
		events := list(t, cfg, timeline.Filter{})
		require.Equal(t, []string{"w-1 lost its lease", "later"}, words(events))
		require.WithinDuration(t, happened, events[0].At, 2*time.Millisecond)

		sent := f.Sent.Load()
		time.Sleep(time.Hour)
		require.Equal(t, sent, f.Sent.Load(), "a process in which nothing happens sends nothing")
		r.Record(timeline.Event{Kind: timeline.Leave, Nodes: []string{"w-1"}})
		stop()
		require.Len(t, list(t, cfg, timeline.Filter{}), 3, "the last event of a process is written before it ends")
	})
}

// A crash loop and dropped messages are a few events with counts, of which none is lost.
func TestAFloodIsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		r, f := recorder(t, cfg, self)
		stop := serve(t, r)
		const crashes, drops = 600, 100_000
		for range crashes {
			r.Record(timeline.Event{Kind: timeline.Crash, Nodes: []string{"w-1"}, Text: "boom", Stack: "here"})
			for range drops / crashes {
				r.Record(timeline.Event{Kind: timeline.Refused, Text: "proof"})
			}
			time.Sleep(time.Second / 2)
		}
		stop()
		counts, events := map[timeline.Kind]int{}, list(t, cfg, timeline.Filter{})
		stacks := 0
		for _, e := range events {
			counts[e.Kind] += e.Count
			stacks += len(e.Stack) / len("here")
		}
		require.Equal(t, map[timeline.Kind]int{timeline.Crash: crashes, timeline.Refused: drops / crashes * crashes}, counts)
		require.Less(t, len(events), 70, "five minutes of two kinds, six each a minute")
		require.Equal(t, 1, stacks)
		require.Less(t, f.Sent.Load(), int64(70))
	})
}

// Events that differ all the time do not fill the memory: they become counts of their kinds.
func TestManyDifferentEventsAreBounded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		r, f := recorder(t, cfg, self)
		f.Cut.Store(true)
		require.NoError(t, r.Flush(t.Context()))
		const all = 3000
		for i := range all {
			r.Record(timeline.Event{Kind: timeline.Crash, Nodes: []string{fmt.Sprintf("w-%d", i)}, Text: fmt.Sprint(i), Stack: "s"})
			r.Record(timeline.Event{Kind: timeline.Mark, Text: fmt.Sprint(i)})
		}
		require.Error(t, r.Flush(t.Context()))
		f.Cut.Store(false)
		require.NoError(t, r.Flush(t.Context()))
		sum := 0
		events := list(t, cfg, timeline.Filter{})
		for _, e := range events {
			sum += e.Count
			require.LessOrEqual(t, len(e.Nodes), 50)
		}
		require.Equal(t, 2*all, sum)
		require.Less(t, len(events), 210)
	})
}

func TestTheTimelineIsBoundedByCountAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		at := timeline.New(redistest.Client(t, cfg), cfg.Keys(), "ada", self)
		for i := range timeline.MaxEvents + 10 {
			require.NoError(t, at.Mark(t.Context(), fmt.Sprint(i), ""))
		}
		events := list(t, cfg, timeline.Filter{})
		require.Len(t, events, timeline.MaxEvents)
		require.Equal(t, "10", events[0].Text)
		time.Sleep(timeline.MaxAge + time.Minute)
		require.NoError(t, at.Mark(t.Context(), "late", "bob"))
		events = list(t, cfg, timeline.Filter{})
		require.Len(t, events, 1)
		require.Equal(t, "bob", events[0].By)
		require.ErrorIs(t, at.Mark(t.Context(), " ", ""), timeline.ErrMark)
		require.ErrorIs(t, at.Mark(t.Context(), strings.Repeat("x", timeline.MaxText+1), ""), timeline.ErrMark)
	})
}

// A deploy is told when the version changes, forth or back, and not for every process.
func TestADeployIsToldWhenTheVersionChanges(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		for _, version := range []string{"v1", "v1", "v2", "v2", "v1"} {
			p := self
			p.Version = version
			r, f := recorder(t, cfg, p)
			r.Record(timeline.Event{Kind: timeline.Deploy})
			f.Lose.Store(1)
			require.Error(t, r.Flush(t.Context()))
			require.NoError(t, r.Flush(t.Context()))
		}
		other, _ := recorder(t, cfg, timeline.Process{Program: "store", Version: "v9"})
		other.Record(timeline.Event{Kind: timeline.Deploy})
		require.NoError(t, other.Flush(t.Context()))
		require.Equal(t, []string{"shop v2, after v1", "shop v1, after v2"}, words(list(t, cfg, timeline.Filter{})))
	})
}

func TestAFollowerGetsEachEventOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		at := timeline.New(redistest.Client(t, cfg), cfg.Keys(), "ada", self)
		for i := range 5 {
			require.NoError(t, at.Mark(t.Context(), fmt.Sprint(i), ""))
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		go func() {
			for i := 5; i < 9; i++ {
				time.Sleep(time.Second)
				_ = at.Mark(ctx, fmt.Sprint(i), "")
			}
		}()
		for e, err := range at.Follow(ctx, timeline.Filter{Limit: 2}) {
			require.NoError(t, err)
			if got = append(got, e.Text); len(got) == 6 {
				cancel()
			}
		}
		require.Equal(t, []string{"3", "4", "5", "6", "7", "8"}, got)
	})
}

// What others have written into the stream is passed over; a key of another type is an error that
// names it, and the events wait until it is gone.
func TestEntriesOfOthersArePassedOver(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client, key := redistest.Client(t, cfg), cfg.Keys().Events()
		require.NoError(t, client.Set(t.Context(), key, "x", 0).Err())
		r, _ := recorder(t, cfg, self)
		r.Record(timeline.Event{Kind: timeline.Mark, Text: "mine"})
		require.True(t, link.IsWrongType(r.Flush(t.Context())))
		_, err := timeline.New(client, cfg.Keys(), "ada", self).List(t.Context(), timeline.Filter{})
		require.Error(t, err)
		require.NoError(t, client.Del(t.Context(), key).Err())
		for _, fields := range []map[string]any{{"x": "y"}, {"e": "{", "at": "1"}, {"e": `{"kind":"mark"}`, "at": "soon"}, {"e": `{"kind":"mark","lasted":9000000000000000000}`, "at": "5"}} {
			require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: fields}).Err())
		}
		require.NoError(t, r.Flush(t.Context()))
		require.Len(t, list(t, cfg, timeline.Filter{}), 2)
		_, err = timeline.New(client, cfg.Keys(), "ada", self).List(t.Context(), timeline.Filter{After: "x"})
		require.Error(t, err)
	})
}
