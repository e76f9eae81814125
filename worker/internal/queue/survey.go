package queue

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Bounds of a survey.
const (
	// MaxSurveyed is how many queues a survey names.
	MaxSurveyed = 1000
	// surveyBudget is about how many commands a survey gives to Redis for the queues with tasks: 120/s, as there is
	// one every 5 s. A queue takes two or three.
	surveyBudget = 600
)

// takeTime is how long a process has to take a snapshot before another may.
const takeTime = 2 * time.Second

// Surveyed is what a survey has found of a queue.
type Surveyed struct {
	Urgent, Normal, Low, Grouped, Groups, Delayed int64
	Oldest                                        time.Time // when the task that is claimed next was stored; zero without one
}

// Survey is what waits in the queues of a namespace.
type Survey struct {
	Now    time.Time
	Used   int                 // queues that were ever used
	Names  []string            // of at most [MaxSurveyed] of these
	Busy   []string            // those that have tasks that wait
	Looked map[string]Surveyed // those of Busy that were looked at
	Last   string              // for the next survey
	Parked map[string]int64    // by "queue|task name"
	// Tasks.
	Blocked, Dead, Cancelled int64
}

// Survey looks at the queues that have tasks: at all, or, if they are many, at those after the queue last.
func (s Store) Survey(ctx context.Context, last string) (Survey, error) {
	reply, err := surveyScript.Call(ctx, s.redis, s.keys.TaskKeys(), MaxSurveyed, surveyBudget, last)
	out := Survey{Looked: map[string]Surveyed{}, Parked: map[string]int64{}}
	var now int64
	var rows, parked []string
	if err == nil {
		err = reply.Scan(&now, &out.Used, &out.Names, &out.Busy, &out.Last, &rows, &parked, &out.Blocked, &out.Dead, &out.Cancelled)
	}
	if err != nil {
		return Survey{}, link.Explain(err)
	}
	out.Now = TimeOf(now)
	for row := range slices.Chunk(rows, 8) {
		n := make([]int64, len(row))
		for i := 1; i < len(row); i++ {
			n[i] = number(row[i])
		}
		q := Surveyed{Urgent: n[1], Normal: n[2], Low: n[3], Grouped: n[4], Groups: n[5], Delayed: n[6]}
		if n[7] > 0 {
			q.Oldest = TimeOf(n[7])
		}
		out.Looked[row[0]] = q
	}
	for pair := range slices.Chunk(parked, 2) {
		out.Parked[pair[0]] = number(pair[1])
	}
	return out, nil
}

// Kept is a snapshot that is kept.
type Kept struct {
	Text string    // "" if there is none
	Now  time.Time // on Redis's clock
	Take bool      // the caller has to take another
}

// Kept returns the snapshot that is kept. If it is older than age, the caller has to take another, or somebody else
// does so now.
func (s Store) Kept(ctx context.Context, age time.Duration) (Kept, error) {
	reply, err := snapshotScript.Call(ctx, s.redis, s.keys.TaskKeys(), age.Milliseconds(), takeTime.Milliseconds())
	var kept Kept
	var now, taken int64
	if err == nil {
		err = reply.Scan(&now, &taken, &kept.Text, &kept.Take)
	}
	kept.Now = TimeOf(now)
	return kept, err
}

// Keep keeps a snapshot.
func (s Store) Keep(ctx context.Context, taken time.Time, text string) error {
	return link.Explain(s.redis.HSet(ctx, s.keys.Snapshot(), "at", taken.UnixMilli(), "text", text).Err())
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // 0 for what is no number
	return n
}
