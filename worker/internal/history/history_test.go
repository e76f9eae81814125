package history_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/history"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// charts is a process that writes, and one that reads.
type charts struct {
	*history.Collector
	redistest.Hook

	t      *testing.T
	client *redis.Client
	keys   link.Keys
}

func newCharts(t *testing.T, cfg link.Config) *charts {
	t.Helper()
	c := &charts{t: t, client: redistest.Client(t, cfg), keys: cfg.Keys()}
	writer := redistest.Client(t, cfg)
	writer.AddHook(&c.Hook)
	c.Collector = history.NewCollector(writer, c.keys)
	return c
}

func (c *charts) run(name string, n int) {
	for range n {
		c.Add(history.Run{Name: name, Queue: "q", Outcome: "done", First: true, Waited: 3 * time.Millisecond, Ran: 40 * time.Millisecond})
	}
}

func (c *charts) read(since time.Duration, name string) []history.Point {
	c.t.Helper()
	points, err := history.Store{Client: c.client, Keys: c.keys}.Read(c.t.Context(), c.client.Time(c.t.Context()).Val().Add(-since), time.Time{}, "", name)
	require.NoError(c.t, err)
	return points
}

func done(points []history.Point) (n int64) {
	for _, p := range points {
		n += p.Outcomes["done"]
	}
	return n
}

// Two processes add to the same minute; every number is that of both.
func TestProcessesAddToTheSameMinute(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		a, b := newCharts(t, cfg), newCharts(t, cfg)
		a.run("mail", 3)
		b.run("mail", 4)
		b.Add(history.Run{Name: "mail", Queue: "q", Outcome: "panicked", Waited: time.Hour, Ran: 2 * time.Hour})
		b.Add(history.Run{Name: "odd|name", Queue: "q", Outcome: "failed", Ran: time.Millisecond})
		require.NoError(t, a.Flush(t.Context()))
		require.NoError(t, b.Flush(t.Context()))
		require.NoError(t, b.Flush(t.Context()), "nothing is left")
		var sum history.Sum
		points := a.read(time.Hour, "mail")
		for _, p := range points { // two if a minute has just begun
			require.Equal(t, time.Minute, p.Length)
			require.Equal(t, "q", p.Queue)
			sum.Join(p.Sum)
		}
		require.Equal(t, map[string]int64{"done": 7, "panicked": 1}, sum.Outcomes)
		require.EqualValues(t, 7, sum.Wait[2], "2.5 to 5 ms; a second run's wait does not count")
		require.EqualValues(t, 7, sum.Run[5])
		require.EqualValues(t, 1, sum.Run[18], "longer than all bounds")
		require.Equal(t, 21*time.Millisecond, sum.WaitTime)
		require.Equal(t, 2*time.Hour+280*time.Millisecond, sum.RunTime)
		require.Len(t, a.read(time.Hour, history.Other), 1, "a name that a field cannot have")
		quarters := a.read(20*time.Hour, "mail")
		require.EqualValues(t, 7, done(quarters))
		require.Equal(t, 15*time.Minute, quarters[0].Length)
	})
}

// A reply that is lost makes nothing count twice, nor what is added with the next request.
func TestNothingCountsTwice(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCharts(t, cfg)
		c.run("mail", 5)
		c.Lose.Store(2)
		require.Error(t, c.Flush(t.Context()))
		c.run("mail", 2)
		require.Error(t, c.Flush(t.Context()))
		require.NoError(t, c.Flush(t.Context()))
		require.EqualValues(t, 7, done(c.read(time.Hour, "")))
	})
}

// An idle process sends nothing, a busy one a request a minute. What it has summed up goes to the minute in
// which it happened, also after an outage, and at its end.
func TestAProcessSendsOneRequestAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCharts(t, redistest.Embedded(t).Config())
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		go func() { _ = c.Serve(ctx); close(served) }()
		time.Sleep(time.Hour)
		require.Zero(t, c.Sent.Load())
		work := func(minutes int) {
			for range minutes * 60 {
				c.run("mail", 1)
				time.Sleep(time.Second)
			}
		}
		work(10)
		require.InDelta(t, 10, c.Sent.Load(), 1+1) // the first one is sent twice: with its hash, and in full
		require.Less(t, len(c.read(time.Hour, "")), 12)
		c.Cut.Store(true)
		work(30)
		c.Cut.Store(false)
		work(5)
		for _, p := range c.read(30*time.Minute, "")[1:25] {
			require.EqualValues(t, 60, p.Outcomes["done"], p.At)
		}
		cancel()
		<-served
		require.EqualValues(t, 45*60, done(c.read(2*time.Hour, "")))
	})
}

// Minutes are kept for 8 hours, quarters for 72; names that are gone make room for others.
func TestWhatIsOldIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCharts(t, redistest.Embedded(t).Config())
		for hour := range 100 {
			c.run("mail", 1)
			if hour < 4 {
				c.run("gone", 1)
			}
			require.NoError(t, c.Flush(t.Context()))
			time.Sleep(time.Hour)
		}
		require.Len(t, c.read(8*time.Hour, ""), 8)
		require.Len(t, c.read(72*time.Hour, ""), 72)
		require.Empty(t, c.read(100*time.Hour, "gone"))
		minutes, quarters := 0, 0
		for _, key := range c.client.Keys(t.Context(), c.keys.Charts()+":*").Val() {
			switch key[len(c.keys.Charts())+1] {
			case 'm':
				minutes++
			case 'q':
				quarters++
			}
		}
		require.LessOrEqual(t, minutes, 9)
		require.LessOrEqual(t, quarters, 73)
		require.LessOrEqual(t, c.client.ZCard(t.Context(), c.keys.Charts()).Val(), int64(9+73+2))
	})
}

// Beyond 200 names of all processes together everything else has one name, until others are gone.
func TestNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		a, b := newCharts(t, cfg), newCharts(t, cfg)
		for i := range 150 {
			a.run("a"+strconv.Itoa(i), 1)
			b.run("b"+strconv.Itoa(i), 1)
		}
		for i := range 300 {
			a.run("c"+strconv.Itoa(i), 1)
		}
		require.NoError(t, a.Flush(t.Context()))
		require.NoError(t, b.Flush(t.Context()))
		points := a.read(time.Hour, "")
		names := map[string]bool{}
		for _, p := range points {
			names[p.Name] = true
		}
		require.Len(t, names, history.MostNames+1)
		require.True(t, names[history.Other])
		require.EqualValues(t, 600, done(points))
		time.Sleep(80 * time.Hour)
		b.run("new", 1)
		require.NoError(t, b.Flush(t.Context()))
		require.Len(t, b.read(time.Hour, "new"), 1)
	})
}

// The oldest hours go when there are too many bytes.
func TestBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCharts(t, redistest.Embedded(t).Config())
		c.run("mail", 1)
		require.NoError(t, c.Flush(t.Context()))
		time.Sleep(2 * time.Hour)
		of := func(kind string) string {
			return kind + strconv.FormatInt(time.Now().Add(-2*time.Hour).Unix()/3600, 10)
		}
		require.NoError(t, c.client.ZAdd(t.Context(), c.keys.Charts(), redis.Z{Score: history.MostBytes, Member: of("m")}).Err())
		c.run("mail", 1)
		require.NoError(t, c.Flush(t.Context()))
		require.Zero(t, c.client.Exists(t.Context(), c.keys.Charts()+":"+of("m")).Val())
		require.EqualValues(t, 1, c.client.Exists(t.Context(), c.keys.Charts()+":"+of("q")).Val(), "no more than that")
		require.EqualValues(t, 1, done(c.read(time.Hour, "")))
	})
}

// Entries of others are passed over; a key of another type is an error that names it, and what was summed
// up waits.
func TestEntriesOfOthersArePassedOver(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := newCharts(t, cfg)
		require.NoError(t, c.client.Set(t.Context(), c.keys.Charts(), "x", 0).Err())
		c.run("mail", 1)
		require.True(t, link.IsWrongType(c.Flush(t.Context())))
		require.NoError(t, c.client.Del(t.Context(), c.keys.Charts()).Err())
		require.NoError(t, c.Flush(t.Context()))
		hour := c.keys.Charts() + ":m" + strconv.FormatInt(c.client.Time(t.Context()).Val().Unix()/3600, 10)
		for i, field := range []string{"x", "99|q|mail", "-1|q|mail", "1|q", "1"} {
			require.NoError(t, c.client.HSet(t.Context(), hour, field, fmt.Sprintf("Done=%d", i)).Err())
		}
		require.NoError(t, c.client.HSet(t.Context(), hour, "0|q|alien", "Done=x w=1 w99=3 wt=99999999999999999999 =7 r0=-2 \x1b=1 Ok=2").Err())
		points := c.read(time.Hour, "alien")
		for _, p := range points { // none in the first minute of an hour
			require.Equal(t, history.Sum{Outcomes: map[string]int64{"ok": 2}}, p.Sum)
		}
		require.EqualValues(t, 1, done(c.read(time.Hour, "mail")))
	})
}

func BenchmarkAdd(b *testing.B) {
	c := history.NewCollector(nil, link.NewKeys("stellar"))
	run := history.Run{Name: "mail", Queue: "q", Outcome: "done", First: true, Waited: 3 * time.Millisecond, Ran: 40 * time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		c.Add(run)
	}
}
