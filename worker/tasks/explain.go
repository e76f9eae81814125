package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Explanation says in words where a task is and why it does not run.
type Explanation struct {
	Task
	Why []string `json:"why"`
}

// Explain returns the stored data of a task and the reasons why the task does not run now.
// The error is [ErrNotFound] if the task is not stored; its text names the queues that are
// full and may have refused the task.
func (i *Inspector) Explain(ctx context.Context, id string) (Explanation, error) {
	t, err := i.Get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		note, failed := i.refusing(ctx)
		if failed != nil {
			return Explanation{}, fmt.Errorf("explain task %s: %w", id, link.Explain(failed))
		}
		return Explanation{}, fmt.Errorf("%w%s", err, note)
	}
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Task: t}
	now, err := i.redis.Time(ctx).Result()
	if err == nil {
		err = i.explain(ctx, &e, now)
	}
	if err != nil {
		return Explanation{}, fmt.Errorf("explain task %s: %w", id, link.Explain(err))
	}
	return e, nil
}

func (e *Explanation) sayf(format string, args ...any) {
	e.Why = append(e.Why, fmt.Sprintf(format, args...))
}

func (i *Inspector) explain(ctx context.Context, e *Explanation, now time.Time) (err error) {
	switch e.State {
	case Pending, Parked:
		err = i.explainPending(ctx, e)
	case Blocked:
		err = i.explainBlocked(ctx, e)
	case Done:
		e.sayf("it is done, and remembered until %s", e.Kept.Format(time.RFC3339))
		return nil
	case Dead, Cancelled:
		if e.Reason != nil {
			e.sayf("%s", e.Reason)
		}
		e.explainSteps(now)
		e.sayf("it can be retried or deleted; it is forgotten %d days after its end, sooner when there are more than %d",
			int(KeepDeadFor.Hours()/24), KeepDead)
		return i.explainUnique(ctx, e, now)
	case Delayed:
		e.explainDelayed(now)
	case Active:
		e.explainRun(now)
		if e.Cancelling {
			e.sayf("it is to be cancelled: its handler has been asked to end and has not returned")
		}
	default:
		e.sayf("its record is stored, but it is in no queue: Redis may have lost data")
	}
	e.explainSteps(now)
	if e.Crashes >= queue.QuarantineAfter-1 {
		e.sayf("%d of its runs ended with a crash of their node: such tasks run one at a time in each process", e.Crashes)
		if e.State == Delayed {
			e.sayf("it may wait for its turn to run alone: it comes back when it is due, and is put off again while another runs")
		}
	}
	if !e.Deadline.IsZero() {
		e.sayf("its deadline is %s", e.Deadline.Format(time.RFC3339))
	}
	return err
}

// explainDelayed says when the task is due.
func (e *Explanation) explainDelayed(now time.Time) {
	if in := e.Due.Sub(now); in < 2*365*24*time.Hour { // Sub does not go beyond 292 years
		e.sayf("it is due in %s, at %s", in.Round(time.Millisecond), e.Due.Format(time.RFC3339))
	} else {
		e.sayf("it is due at %s", e.Due.Format(time.RFC3339))
	}
	if e.Attempts > 0 && e.asleep(now) == nil {
		e.sayf("%s; this is the pause before the next", link.Count(e.Attempts, "attempt has failed", "attempts have failed"))
	}
}

// explainRun says how far the run of a task is at now.
func (e *Explanation) explainRun(now time.Time) {
	e.sayf("%s has it in hand: %s", e.Node, e.Run)
	if e.Run.Since.IsZero() {
		return
	}
	if ran, most := now.Sub(e.Run.Since), e.Run.timeout(); most > 0 && ran > most+overdueAfter {
		e.sayf("its handler should have returned %s ago: it goes on although its context has ended, and keeps its slot",
			(ran - most).Round(time.Millisecond))
	}
}

// overdueAfter is for how long after its timeout a run is not called overdue: its handler
// began a moment after the claim and may need time to return.
const overdueAfter = time.Second

// explainUnique names the task that holds a task's unique key and keeps it from being
// retried.
func (i *Inspector) explainUnique(ctx context.Context, e *Explanation, now time.Time) error {
	if e.Unique == "" {
		return nil
	}
	var holder *redis.StringCmd
	var until *redis.FloatCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		holder = p.HGet(ctx, i.keys.Unique(), e.Unique)
		until = p.ZScore(ctx, i.keys.UniqueUntil(), e.Unique)
		return nil
	})
	if errors.Is(err, redis.Nil) {
		err = nil // one of the two keys does not exist
	}
	till := queue.TimeOf(int64(until.Val()))
	switch {
	case err != nil, holder.Err() != nil, holder.Val() == e.ID:
	case until.Err() != nil:
		e.sayf("%s has its unique key %s: it cannot be retried before that has ended", holder.Val(), e.Unique)
	case till.After(now):
		e.sayf("%s has its unique key %s: it cannot be retried before %s", holder.Val(), e.Unique, till.Format(time.RFC3339))
	}
	return err
}

// refusing names the queues that accept no more tasks: a task that is not stored may
// have been refused.
func (i *Inspector) refusing(ctx context.Context) (string, error) {
	s, err := i.snapshot(ctx)
	if err != nil {
		return "", err
	}
	var full []string
	for _, q := range s.queues {
		tasks, most := q.Pending+q.Delayed+q.Active, int64(q.Limits.Tasks)
		if most > 0 && tasks >= most {
			full = append(full, fmt.Sprintf("%s with %d of %s", q.Name, tasks, link.Count(most, "task")))
		} else if q.Limits.Bytes > 0 && q.Bytes >= q.Limits.Bytes {
			full = append(full, fmt.Sprintf("%s with %d of %s", q.Name, q.Bytes, link.Count(q.Limits.Bytes, "byte")))
		}
	}
	if full == nil {
		return "", nil
	}
	return "; if it was not accepted: full is the queue " + strings.Join(full, ", "), nil
}

// explainPending says how many tasks go before a pending task, and what keeps nodes from
// claiming from its queue.
func (i *Inspector) explainPending(ctx context.Context, e *Explanation) error {
	if e.State == Parked {
		e.sayf("no node that serves the queue %s and looked at it handles tasks named %s: start one that does", e.Queue, e.Name)
	} else if e.Position != nil && *e.Position > 0 {
		about := ""
		if e.About {
			about = "about "
		}
		of := "queue"
		if e.Group != "" {
			of = "group"
		}
		e.sayf("%s%s", about, link.Count(*e.Position, "task of its "+of+" goes before it", "tasks of its "+of+" go before it"))
	}
	return i.explainQueue(ctx, e)
}

// explainQueue says what keeps a queue's tasks from being claimed.
func (i *Inspector) explainQueue(ctx context.Context, e *Explanation) error {
	s, err := i.snapshot(ctx)
	if err != nil {
		return err
	}
	if at := slices.IndexFunc(s.queues, func(q Queue) bool { return q.Name == e.Queue }); at >= 0 {
		q := s.queues[at]
		if q.Paused {
			e.sayf("the queue %s is paused", q.Name)
		}
		if most := q.Limits.Concurrency; most > 0 && q.Active-q.shared >= int64(most) {
			e.sayf("the queue %s runs at most %s at a time, and %s", q.Name, link.Count(most, "task"), link.Count(q.Active-q.shared, "runs", "run"))
		}
		if err := i.explainTurns(ctx, e, q.Limits, s.now); err != nil {
			return err
		}
	}
	return i.explainNodes(ctx, e, s.queues)
}

// explainNodes says whether somebody claims from a task's queue, one of all queues.
func (i *Inspector) explainNodes(ctx context.Context, e *Explanation, all []Queue) error {
	claiming, quiet, err := i.serving(ctx, e.Queue)
	switch {
	case err != nil:
		return err
	case len(claiming)+len(quiet) == 0:
		meant, err := i.meantQueue(ctx, e.Queue, all)
		e.sayf("no live node serves the queue %s%s", e.Queue, meant)
		return err
	case len(claiming) == 0:
		e.sayf("every node that serves the queue %s is quiet (%s): none claims before \"stellar resume\" or, "+
			"where \"stellar status\" says UNHEALTHY, before handlers return that outlived their nodes", e.Queue, nodes(quiet))
	case e.State == Parked && len(quiet) > 0:
		e.sayf("nodes that serve the queue are quiet and may handle it: %s", nodes(quiet))
	case len(e.Why) == 0:
		e.sayf("it is next: %s claims it when it has a free slot", oneOf(len(claiming)))
	}
	return nil
}

// meantQueue returns the question whether another queue was meant, one of all or one that programs
// have defined tasks for, "" if none has a similar name.
func (i *Inspector) meantQueue(ctx context.Context, name string, all []Queue) (string, error) {
	definitions, err := i.Definitions(ctx)
	var others []string
	for _, q := range all {
		others = append(others, q.Name)
	}
	for _, d := range definitions {
		others = append(others, cmp.Or(d.Queue, DefaultQueue))
	}
	others = slices.DeleteFunc(others, func(other string) bool { return other == name })
	if like := link.Nearest(name, others); like != "" {
		return ": was " + like + " meant?", err
	}
	return "", err
}

// oneOf describes one of so many nodes that claim from a queue.
func oneOf(n int) string {
	if n == 1 {
		return "the node that serves its queue and is not quiet"
	}
	return fmt.Sprintf("one of the %d nodes that serve its queue and are not quiet", n)
}

// nodes names the nodes of some incarnations.
func nodes(incarnations []string) string {
	const most = 10
	var ids []string
	for _, incarnation := range incarnations {
		id, _, _ := strings.Cut(incarnation, "#")
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}

// explainBlocked says which tasks a blocked task waits for.
func (i *Inspector) explainBlocked(ctx context.Context, e *Explanation) error {
	const more = "more of the tasks that it is to follow "
	e.sayf("it runs when %s", link.Count(e.Blocking, more+"is done", more+"are done"))
	for n, id := range e.After {
		if n == 10 {
			e.sayf("… and so on")
			break
		}
		other, err := i.Get(ctx, id)
		if err == nil && other.State != Done {
			e.sayf("%s is %s", id, other.State)
		} else if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
