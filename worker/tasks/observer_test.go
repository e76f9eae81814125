package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/tasks"
)

// tally counts everything that an observer hears.
type tally struct {
	mu    sync.Mutex
	count map[string]int
	runs  []tasks.RunEnd
	ticks []tasks.Tick
}

func (t *tally) add(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[string]int{}
	}
	t.count[what] += n
}

func (t *tally) of(what string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count[what]
}

func (t *tally) Enqueued(e tasks.EnqueueEnd) { t.add("enqueue "+string(e.Result), 1) }
func (t *tally) Claimed(c tasks.Claim)       { t.add("claimed", c.Got); t.add("claims", 1) }
func (t *tally) Committed(c tasks.Commit)    { t.add("committed", c.Runs) }
func (t *tally) TookOver(o tasks.TakeOver)   { t.add("handed on", o.HandedOn) }
func (t *tally) RunOverdue(tasks.RunOverdue) { t.add("overdue", 1) }
func (t *tally) StepEnded(e tasks.StepEnd)   { t.add("step "+string(e.Result), 1) }
func (t *tally) TaskEnded(e tasks.TaskEnd)   { t.add("task "+string(e.How), 1) }

func (t *tally) Ticked(k tasks.Tick) {
	t.add("tick "+string(k.Result), 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ticks = append(t.ticks, k)
}

func (t *tally) RunEnded(r tasks.RunEnd) {
	t.add("run "+string(r.Outcome), 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs = append(t.runs, r)
	switch {
	case r.Dead:
		t.count["dead"]++
	case r.Outcome != tasks.RunDone && r.Outcome != tasks.RunSnoozed && r.Outcome != tasks.RunCancelled &&
		r.Outcome != tasks.RunFenced && r.Outcome != tasks.RunAbandoned && r.Outcome != tasks.RunReturned:
		t.count["failed"]++
	}
}

// agrees checks that what was heard is what Redis counted.
func (c *cluster) agrees(heard *tally) {
	c.t.Helper()
	sum := map[string]int64{}
	for field, text := range c.redis.HGetAll(c.t.Context(), c.keys.Stats()).Val() { // of deleted queues too
		_, what, _ := strings.Cut(field, "|")
		n, _ := strconv.ParseInt(text, 10, 64)
		sum[what] += n
	}
	ever := tasks.Totals{
		Enqueued: sum["enqueued"], Done: sum["done"], Failed: sum["failed"], Snoozed: sum["snoozed"], Dead: sum["dead"],
		Quarantined: sum["quarantined"], Cancelled: sum["cancelled"], Deleted: sum["deleted"],
	}
	n := func(what string) int64 { return int64(heard.of(what)) }
	told := tasks.Totals{
		Enqueued: n("enqueue accepted") + n("tick enqueued"), Done: n("run done"), Failed: n("failed"), Snoozed: n("run snoozed"),
		Dead:        n("dead") + n("task quarantined") + n("task deadline") + n("task malformed"),
		Quarantined: n("task quarantined"), Cancelled: n("run cancelled") + n("task cancelled"), Deleted: n("task deleted"),
	}
	require.Equal(c.t, told, ever, "%v", heard.count)
	require.Equal(c.t, n("claimed"), n("committed"))
}

// endings registers tasks that end in every way.
func endings(r *tasks.Registry) {
	once := func(name string, err error) {
		tasks.Handle(r, tasks.Definition{Name: name, MaxAttempts: 1}, func(context.Context, number) error { return err })
	}
	once("fails", errors.New("no"))
	once("discards", tasks.Discard(errors.New("no")))
	once("quick", nil)
	tasks.Handle(r, tasks.Definition{Name: "panics", MaxAttempts: 2, Backoff: 1}, func(context.Context, number) error { panic("no") })
	tasks.Handle(r, tasks.Definition{Name: "slow", MaxAttempts: 1, Timeout: time.Millisecond}, func(ctx context.Context, _ number) error {
		<-ctx.Done()
		return ctx.Err()
	})
	tasks.Handle(r, tasks.Definition{Name: "snoozes"}, func(ctx context.Context, _ number) error {
		if tasks.Tx(ctx).Enqueue("quick", number{}); tasks.InfoOf(ctx).Queue == "again" {
			return nil
		}
		return tasks.Snooze(time.Hour)
	})
	tasks.Handle(r, tasks.Definition{Name: "refused", MaxAttempts: 1}, func(ctx context.Context, _ number) error {
		tasks.Tx(ctx).Push("value", 1)
		return nil
	})
	tasks.Handle(r, tasks.Definition{Name: "follows"}, func(ctx context.Context, _ number) error {
		for range 2 {
			tasks.Tx(ctx).EnqueueWith("quick", number{}, tasks.Options{ID: "once"})
		}
		tasks.Tx(ctx).Enqueue("quick", number{})
		return nil
	})
}

func TestTheObserverHearsWhatRedisCounts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		endings(&r)
		started, release := blocking(&r, "blocks")
		c, heard := newCluster(t, cfg, &r), &tally{}
		c.tasks.Observe(heard)
		c.inspector.Observe(heard)
		c.observer = heard
		c.startMover()
		ctx := t.Context()
		require.NoError(t, c.cache.Save(ctx, "value", 1, 0))

		for _, name := range []string{"fails", "discards", "panics", "slow", "snoozes", "refused", "follows", "quick", "quick"} {
			c.enqueue(name, tasks.Options{})
		}
		c.enqueue("quick", tasks.Options{Deadline: time.UnixMilli(1)})
		_, err := c.tasks.EnqueueWith(ctx, "quick", number{}, tasks.Options{Unique: "u", In: time.Hour})
		require.NoError(t, err)
		_, err = c.tasks.EnqueueWith(ctx, "quick", number{}, tasks.Options{Unique: "u"})
		require.NoError(t, err)
		_, err = c.tasks.EnqueueWith(ctx, "quick", number{}, tasks.Options{MaxAttempts: -1})
		require.ErrorIs(t, err, tasks.ErrInvalid)
		_, err = c.inspector.LimitQueue(ctx, "small", &tasks.Limits{Tasks: 1})
		require.NoError(t, err)
		_, err = c.tasks.EnqueueMany(ctx, []tasks.Request{
			{Name: "quick", Options: tasks.Options{Queue: "small", ID: "held"}}, {Name: "quick", Options: tasks.Options{Queue: "small"}},
		})
		require.ErrorIs(t, err, tasks.ErrQueueFull)

		n := c.startWith(runner.Config{Registry: &r, Concurrency: 2, Queues: []string{"default"}})
		c.eventually("all ended", func() bool { q := c.counts(); return q.Pending == 1 && q.Active == 0 })
		for outcome, times := range map[tasks.Outcome]int{
			tasks.RunFailed: 1, tasks.RunDiscarded: 1, tasks.RunPanicked: 2, tasks.RunTimeout: 1, tasks.RunSnoozed: 1, tasks.RunRefused: 1, tasks.RunDone: 5,
		} {
			c.eventually(string(outcome), func() bool { return heard.of("run "+string(outcome)) == times })
		}
		require.Equal(t, 1, heard.of("task deadline"))
		require.Equal(t, 2, heard.of("enqueue duplicate"), "a unique key, and an id in a transaction")
		require.Equal(t, 1, heard.of("enqueue refused"))
		require.Equal(t, 1, heard.of("enqueue full"))
		for _, run := range heard.runs {
			require.Equal(t, run.Outcome == tasks.RunDone, run.Err == nil, "%+v", run)
			require.Equal(t, n.lease.Incarnation.String(), run.Node)
		}

		// What is cancelled or deleted takes along what follows it.
		c.enqueue("quick", tasks.Options{ID: "first", In: time.Hour})
		c.enqueue("quick", tasks.Options{ID: "second", After: []string{"first"}})
		_, err = c.inspector.Cancel(ctx, "first", "test")
		require.NoError(t, err)
		c.enqueue("quick", tasks.Options{ID: "third", After: []string{"first"}})
		c.enqueue("quick", tasks.Options{ID: "deleted", In: time.Hour})
		c.enqueue("quick", tasks.Options{After: []string{"deleted"}})
		require.NoError(t, c.inspector.Delete(ctx, "deleted"))
		_, err = c.inspector.DeleteQueue(ctx, "small")
		require.NoError(t, err)
		require.Equal(t, 4, heard.of("task cancelled"))
		require.Equal(t, 2, heard.of("task deleted"))
		running := c.enqueue("blocks", tasks.Options{})
		receive(t, started)
		_, err = c.inspector.Cancel(ctx, running, "test")
		require.NoError(t, err)
		c.eventually("cancelled", func() bool { return heard.of("run cancelled") == 1 })
		n.stop()
		c.agrees(heard)
		close(release)
	})
}

func TestTheObserverHearsOfNodesThatEndBeforeTheirRuns(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		started, release := blocking(&r, "blocks")
		c, heard := newCluster(t, cfg, &r), &tally{}
		c.tasks.Observe(heard)
		c.observer = heard
		id := c.enqueue("blocks", tasks.Options{})
		for range queue.QuarantineAfter {
			n := c.start(&r, 1)
			receive(t, started)
			n.crash(true)
		}
		require.Equal(t, tasks.Dead, c.get(id).State)
		require.Equal(t, queue.QuarantineAfter, heard.of("run abandoned"))
		require.Equal(t, 1, heard.of("task quarantined"))
		require.Equal(t, queue.QuarantineAfter, heard.of("claimed"))

		// One was cut off: what its handler did is refused.
		id = c.enqueue("blocks", tasks.Options{})
		n := c.start(&r, 1)
		receive(t, started)
		_, err := c.directory.Condemn(t.Context(), n.lease.Incarnation, false, 0)
		require.NoError(t, err)
		release <- struct{}{}
		require.ErrorIs(t, receive(t, n.ended), queue.ErrFenced)
		require.Equal(t, 1, heard.of("run fenced"))
		require.Equal(t, id, heard.runs[len(heard.runs)-1].ID)
		heard.add("committed", heard.of("claimed")) // none was
		c.agrees(heard)
	})
}

// counter is the least that an observer may do.
type counter struct{ n atomic.Int64 }

func (o *counter) Enqueued(tasks.EnqueueEnd)   { o.n.Add(1) }
func (o *counter) Claimed(tasks.Claim)         { o.n.Add(1) }
func (o *counter) RunEnded(tasks.RunEnd)       { o.n.Add(1) }
func (o *counter) Committed(tasks.Commit)      { o.n.Add(1) }
func (o *counter) TookOver(tasks.TakeOver)     { o.n.Add(1) }
func (o *counter) Ticked(tasks.Tick)           { o.n.Add(1) }
func (o *counter) RunOverdue(tasks.RunOverdue) { o.n.Add(1) }
func (o *counter) TaskEnded(tasks.TaskEnd)     { o.n.Add(1) }
func (o *counter) StepEnded(tasks.StepEnd)     { o.n.Add(1) }

func TestAnObserverAllocatesNothing(t *testing.T) {
	const some = 2000
	cfg := redistest.Start(t).Config() // the embedded Redis allocates in this process
	perTask := func(o tasks.Observer) float64 {
		var r tasks.Registry
		done := make(chan struct{}, some)
		tasks.Handle(&r, tasks.Definition{Name: "quick"}, func(context.Context, number) error { done <- struct{}{}; return nil })
		c := newCluster(t, cfg, &r)
		if o != nil {
			c.tasks.Observe(o)
			c.observer = o
		}
		n := c.start(&r, 10)
		defer n.stop()
		requests := slices.Repeat([]tasks.Request{{Name: "quick", Payload: json.RawMessage(`{"N":1}`)}}, some)
		return testing.AllocsPerRun(2, func() {
			_, err := c.tasks.EnqueueMany(t.Context(), requests)
			require.NoError(t, err)
			for range some {
				<-done
			}
		}) / some
	}
	heard := &counter{}
	// How many claims and commits a round takes differs with the load of the machine, and so do its
	// allocations, by a few tenths a task; one for each event would be one a task or more.
	least, leastWith := math.Inf(1), math.Inf(1)
	for range 4 {
		least, leastWith = min(least, perTask(nil)), min(leastWith, perTask(heard))
	}
	t.Logf("allocations a task: %.2f, with an observer %.2f", least, leastWith)
	require.Greater(t, heard.n.Load(), int64(2*some))
	require.Less(t, leastWith, least+0.5)
}

func TestTheObserverHearsOfEachTickOnceOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		ticking(&r, tasks.Periodic{Name: "often", Schedule: tasks.Cron("*/5 * * * *", nil)})
		c, heard := newCluster(t, redistest.Embedded(t).Config(), &r), &tally{}
		c.observer = heard
		stop := c.tickers(&r, 3)
		time.Sleep(12*time.Minute + 30*time.Second)
		stop()
		time.Sleep(10 * time.Minute) // nothing runs at two ticks
		c.tickers(&r, 3)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, map[string]int{"tick enqueued": 2, "tick missed": 1}, heard.count)
		for _, k := range heard.ticks {
			require.Equal(t, []string{"often", "tick", "default"}, []string{k.Name, k.Task, k.Queue})
			require.Zero(t, k.Due.Minute()%5)
			require.Equal(t, k.Result == tasks.TickMissed, k.Late > time.Minute, "%+v", k)
			require.GreaterOrEqual(t, k.Late, time.Duration(0))
		}
		c.agrees(heard)
	})
}
