package history

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// flushEvery is how often a process that runs tasks adds what it has summed up.
	flushEvery = time.Minute
	// mostLines is how many sums one request has, keptLines how many wait while Redis is away. More
	// are dropped, the oldest first: charts are no ledger.
	mostLines = 100
	keptLines = 60 * MostNames
	lastTime  = time.Second
)

// Run is a run that has ended.
type Run struct {
	Name, Queue, Outcome string
	First                bool // of its task: only then does Waited count
	Waited, Ran          time.Duration
}

// key is a queue and a name.
type key struct{ queue, name string }

// Collector sums up the runs of a process. Its methods are safe for concurrent use. Make one with
// [NewCollector], and run [Collector.Serve].
type Collector struct {
	// Reports logs when sums cannot be written. Set it before Serve.
	Reports *link.Reports

	store  Store
	writer string        // random
	wake   chan struct{} // has capacity 1: there is something to write, where there was nothing

	sending sync.Mutex // one request at a time; it guards the next four
	number  int64      // of the last request
	lines   []line     // that wait, the oldest first
	asked   int        // how many of lines the last request had, if it is not known to have run
	again   bool       // it may have run

	mu     sync.Mutex
	clock  clock
	minute int64 // of sums
	sums   map[key]*tally
	last   key    // of the last run: the next one is often of the same name
	of     *tally // of last, nil in a new minute
	full   []line // of earlier minutes
}

// tally is a [Sum] that grows. There are few outcomes: looking through them is faster than a map.
type tally struct {
	Sum

	counts []counted
}

type counted struct {
	outcome string
	runs    int64
}

func (t *tally) count(outcome string) {
	for i := range t.counts {
		if t.counts[i].outcome == outcome {
			t.counts[i].runs++
			return
		}
	}
	t.counts = append(t.counts, counted{outcome, 1})
}

// clock is Redis's clock, as the process knows it.
type clock struct {
	local time.Time // of this process, with its monotonic time
	redis time.Time // at that time
}

func (c clock) minute() int64 {
	return c.redis.Add(time.Since(c.local)).Unix() / int64(time.Minute/time.Second)
}

// NewCollector returns a collector that adds to the history of a namespace.
func NewCollector(c redis.UniversalClient, keys link.Keys) *Collector {
	now := time.Now()
	return &Collector{
		store: Store{c, keys}, writer: strings.ToLower(rand.Text()[:12]), wake: make(chan struct{}, 1),
		clock: clock{now, now.Round(0)}, sums: map[key]*tally{},
	}
}

// Add counts a run.
func (c *Collector) Add(r Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if minute := c.clock.minute(); minute != c.minute {
		c.close()
		c.minute = minute
	}
	if len(c.sums) == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	s := c.of
	if s == nil || c.last.name != r.Name || c.last.queue != r.Queue {
		s = c.tallyOf(key{r.Queue, r.Name})
		c.last, c.of = key{r.Queue, r.Name}, s
	}
	s.count(r.Outcome)
	s.Run.Add(r.Ran)
	s.RunTime += r.Ran
	if r.First {
		s.Wait.Add(r.Waited)
		s.WaitTime += r.Waited
	}
}

// tallyOf returns the tally of a queue and name, or that of others if there are too many.
func (c *Collector) tallyOf(k key) *tally {
	s := c.sums[k]
	if s == nil && len(c.sums) >= MostNames {
		k = key{Other, Other}
		s = c.sums[k]
	}
	if s == nil {
		s = &tally{}
		c.sums[k] = s
	}
	return s
}

// close makes lines of the sums of a minute. The caller holds c.mu.
func (c *Collector) close() {
	for k, s := range c.sums {
		s.Outcomes = make(map[string]int64, len(s.counts))
		for _, of := range s.counts {
			s.Outcomes[of.outcome] = of.runs
		}
		c.full = append(c.full, line{c.minute, k, s.String()})
	}
	c.of = nil
	clear(c.sums)
	c.full = c.full[max(0, len(c.full)-keptLines):]
}

// Serve adds the sums to the history, a minute after the first of them, until ctx ends; then it adds
// the rest. A process without runs sends nothing.
func (c *Collector) Serve(ctx context.Context) error {
	defer c.Reports.Ended("history")
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
		}
		pause := flushEvery
		for failures := 0; ; failures++ {
			if link.Sleep(ctx, pause) != nil {
				c.flushLast(ctx)
				return context.Cause(ctx)
			}
			err := c.Flush(ctx)
			if err == nil {
				c.Reports.Works("history")
				break
			}
			if failures+1 >= link.FewTries {
				c.Reports.Failed("history", err)
			}
			pause = link.Pause(failures + 1)
		}
	}
}

// flushLast adds all sums to the history after ctx has ended.
func (c *Collector) flushLast(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	_ = c.Flush(last) // at most a minute of charts is lost
}

// Flush adds all sums to the history.
func (c *Collector) Flush(ctx context.Context) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	c.close()
	c.lines, c.full = append(c.lines, c.full...), nil
	c.mu.Unlock()
	if over := len(c.lines) - keptLines - c.asked; over > 0 {
		c.lines = slices.Delete(c.lines, c.asked, c.asked+over)
	}
	for len(c.lines) > 0 {
		if c.asked == 0 {
			c.asked, c.again = min(len(c.lines), mostLines), false
			c.number++
		}
		sent := time.Now()
		now, err := c.store.add(ctx, c.writer, c.number, c.again, c.lines[:c.asked])
		if err != nil {
			c.again = c.again || link.OutcomeOf(err) == link.Unknown
			return err
		}
		c.lines, c.asked = c.lines[c.asked:], 0
		c.mu.Lock()
		c.clock = clock{sent, now}
		c.mu.Unlock()
	}
	return nil
}
