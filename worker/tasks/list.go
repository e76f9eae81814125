package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Filter selects tasks. The zero value selects all tasks that are not done.
//
// The names in JSON and the order are those of the arguments of api.tasks.list.
type Filter struct {
	States []State `json:"states,omitempty"`
	Queue  string  `json:"queue,omitempty"`
	Name   string  `json:"name,omitempty"`
	// Text is part of the id, the payload, the reason, or an entry of the meta written
	// as key=value.
	Text string `json:"text,omitempty"`
	// Since and Until bound the time at which a dead, cancelled or done task ended
	// (or, for a done task without a retention, is forgotten), a delayed task is due,
	// or any other task was enqueued.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Limit is the maximal number of tasks; 0 means no limit.
	Limit int `json:"limit,omitempty"`
	// All says that a filter without any condition is meant: CancelAll, DeleteAll and
	// RetryAll refuse it otherwise. To list tasks it is not needed.
	All bool `json:"all,omitempty"`

	// Group is the group of the tasks ([Options].Group).
	Group string `json:"group,omitempty"`

	inOrder bool // blocked tasks after those that they follow
	idsOnly bool // large payloads are read only to search them
}

// selects returns an error for a filter that selects everything without saying so, which is
// likely to be one that was never filled in.
func (f Filter) selects() error {
	if f.All || len(f.States) > 0 || f.Queue+f.Name+f.Text+f.Group != "" || !f.Since.IsZero() || !f.Until.IsZero() {
		return nil
	}
	return fmt.Errorf("%w: the filter has no condition: say which tasks, or set All", ErrInvalid)
}

func (f Filter) validate() error {
	var errs []error
	for _, s := range f.States {
		if !slices.Contains(States(), s) {
			errs = append(errs, fmt.Errorf("%w: state %.40q: use %v", ErrInvalid, s, States()))
		}
	}
	if f.Queue != "" {
		errs = append(errs, checkName("queue", f.Queue))
	}
	if f.Name != "" {
		errs = append(errs, checkName("task name", f.Name))
	}
	if f.Limit < 0 {
		errs = append(errs, fmt.Errorf("%w: limit %d is negative", ErrInvalid, f.Limit))
	}
	return errors.Join(errs...)
}

// matches reports whether a filter selects a task, whatever its Text is.
func (f Filter) matches(t Task) bool {
	at := t.Enqueued
	for _, other := range []time.Time{t.Due, t.Kept, t.Ended} {
		if !other.IsZero() {
			at = other
		}
	}
	return (f.Queue == "" || t.Queue == f.Queue) && (f.Name == "" || t.Name == f.Name) && (f.Group == "" || t.Group == f.Group) &&
		(f.Since.IsZero() || !at.Before(f.Since)) && (f.Until.IsZero() || at.Before(f.Until))
}

// finds reports whether a task has the filter's Text.
func (f Filter) finds(t Task) bool {
	if f.Text == "" {
		return true
	}
	reason := ""
	if t.Reason != nil {
		reason = t.Reason.String()
	}
	return containsText(f.Text, t.ID, string(t.Payload), reason) || metaContains(t.Meta, f.Text)
}

func containsText(text string, in ...string) bool {
	return slices.ContainsFunc(in, func(s string) bool { return strings.Contains(s, text) })
}

func metaContains(meta map[string]string, text string) bool {
	for key, value := range meta {
		if strings.Contains(key+"="+value, text) {
			return true
		}
	}
	return false
}

// List yields the tasks that a filter selects, or an error. It reads one place (a line of a
// queue, the dead tasks, …) after the other: waiting tasks in the order in which they will
// run, ended tasks with the latest first, and of done tasks those first of which more than the
// id is remembered. It reads a few hundred tasks at a time, so a
// task that moves meanwhile may be missing or be yielded twice. The fields that only
// [Inspector.Get] sets are empty.
func (i *Inspector) List(ctx context.Context, f Filter) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		err := f.validate()
		if err == nil {
			err = i.list(ctx, f, yield)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(Task{}, fmt.Errorf("list tasks: %w", link.Explain(err)))
		}
	}
}

// errEnough ends a listing early: the limit is reached or the caller wants no more.
var errEnough = errors.New("enough")

// listPage is how many tasks are read at a time.
const listPage = 500

func (i *Inspector) list(ctx context.Context, f Filter, yield func(Task, error) bool) error {
	found := 0
	states := f.States
	if len(states) == 0 {
		states = slices.DeleteFunc(States(), func(s State) bool { return s == Done })
	}
	for _, state := range states {
		err := i.places(ctx, state, f, func(some entries) error {
			tasks, err := i.describeAll(ctx, state, some)
			if err != nil {
				return err
			}
			tasks = slices.DeleteFunc(tasks, func(t Task) bool { return !f.matches(t) || some.lack(t) })
			return i.search(ctx, f, tasks, func(t Task) bool {
				found++
				return yield(t, nil) && found != f.Limit
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// search yields those tasks that have the filter's Text, until yield returns false.
func (i *Inspector) search(ctx context.Context, f Filter, tasks []Task, yield func(Task) bool) error {
	for len(tasks) > 0 {
		some, err := i.withPayloads(ctx, f, tasks)
		if err != nil {
			return err
		}
		tasks = tasks[len(some):]
		for _, t := range some {
			if f.finds(t) {
				t.omitInvalid()
				if !yield(t) {
					return errEnough
				}
			}
		}
	}
	return nil
}

// withPayloads returns the first of some tasks with their large payloads, as far as these may
// be in memory at a time.
func (i *Inspector) withPayloads(ctx context.Context, f Filter, tasks []Task) ([]Task, error) {
	if f.idsOnly && f.Text == "" {
		return tasks, nil
	}
	var large []*Task
	n, size := 0, 0
	for n < len(tasks) && (n == 0 || size < listBytes) {
		if size += tasks[n].body.Size; tasks[n].body.Size > 0 {
			large = append(large, &tasks[n])
		}
		n++
	}
	return tasks[:n], i.readPayloads(ctx, large)
}

// listBytes bounds the large payloads that are read at a time.
const listBytes = 1 << 20

// entries are ids as a place has them, with their scores if it is a sorted set. retained is the
// time until which those of a retained list are kept.
type entries struct {
	ids, scores []string
	retained    time.Time
}

// lack reports whether a described task is elsewhere: a done task whose record is kept is in the
// list of that time, whatever other entries there are of its id.
func (e entries) lack(t Task) bool { return t.State == Done && !t.retained.Equal(e.retained) }

// places calls page with the ids of the tasks in a state, a page at a time.
func (i *Inspector) places(ctx context.Context, state State, f Filter, page func(entries) error) error {
	k := i.keys
	switch state {
	case Pending, Delayed:
		queues, err := i.queueNames(ctx, f.Queue)
		if err != nil {
			return err
		}
		for _, q := range queues {
			if state == Delayed {
				err = i.pageSet(ctx, k.Delayed(q), false, page)
			} else {
				err = i.pagePending(ctx, q, f.Group, page)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case Parked:
		return i.pageParked(ctx, page)
	case Active:
		return i.pageOwned(ctx, page)
	case Blocked:
		if f.inOrder {
			return i.pageFollowers(ctx, page)
		}
		return i.pageHash(ctx, k.Blocked(), page)
	case Done:
		if err := i.pageRetained(ctx, page); err != nil {
			return err
		}
		return i.pageSet(ctx, k.Done(), true, page)
	case Dead:
		return i.pageSet(ctx, k.Dead(), true, page)
	default:
		return i.pageSet(ctx, k.Cancelled(), true, page)
	}
}

func (i *Inspector) queueNames(ctx context.Context, only string) ([]string, error) {
	if only != "" {
		return []string{only}, nil
	}
	queues, err := i.redis.SMembers(ctx, i.keys.Queues()).Result()
	slices.Sort(queues)
	return queues, err
}

// pageList reads a line of a queue, beginning with the task that is claimed next, without some of the first ones.
func (i *Inspector) pageList(ctx context.Context, key string, without int64, page func(entries) error) error {
	for from := 1 + without; ; from += listPage {
		ids, err := i.redis.LRange(ctx, key, -from-listPage+1, -from).Result()
		if link.IsWrongType(err) {
			return nil // a key of another type: it holds no tasks
		}
		if err != nil || len(ids) == 0 {
			return err
		}
		slices.Reverse(ids)
		if err := page(entries{ids: ids}); err != nil || len(ids) < listPage {
			return err
		}
	}
}

func (i *Inspector) pageSet(ctx context.Context, key string, newestFirst bool, page func(entries) error) error {
	for from := int64(0); ; from += listPage {
		read := i.redis.ZRangeWithScores
		if newestFirst {
			read = i.redis.ZRevRangeWithScores
		}
		members, err := read(ctx, key, from, from+listPage-1).Result()
		if link.IsWrongType(err) {
			return nil
		}
		if err != nil || len(members) == 0 {
			return err
		}
		ids, scores := make([]string, len(members)), make([]string, len(members))
		for i, e := range members {
			ids[i], _ = e.Member.(string)
			scores[i] = fmt.Sprintf("%.0f", e.Score)
		}
		if err := page(entries{ids: ids, scores: scores}); err != nil || len(ids) < listPage {
			return err
		}
	}
}

func (i *Inspector) pageRetained(ctx context.Context, page func(entries) error) error {
	return i.pageSet(ctx, i.keys.RetainedLists(), true, func(lists entries) error {
		for n, list := range lists.ids {
			until := queue.Time(lists.scores[n])
			err := i.pageList(ctx, i.keys.Retained(list), 0, func(some entries) error {
				some.retained = until
				return page(some)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (i *Inspector) pageParked(ctx context.Context, page func(entries) error) error {
	lists, err := i.redis.SMembers(ctx, i.keys.ParkedLists()).Result()
	if err != nil {
		return err
	}
	slices.Sort(lists)
	for _, list := range lists {
		of, name, _ := strings.Cut(list, "|")
		if err := i.pageList(ctx, i.keys.Parked(of, name), 0, page); err != nil {
			return err
		}
	}
	return nil
}

func (i *Inspector) pageOwned(ctx context.Context, page func(entries) error) error {
	incarnations, err := i.redis.ZRange(ctx, i.keys.Leases(), 0, -1).Result()
	if err != nil {
		return err
	}
	for _, incarnation := range incarnations {
		if err := i.pageHash(ctx, i.keys.Owned(incarnation), page); err != nil {
			return err
		}
	}
	return nil
}

func (i *Inspector) pageHash(ctx context.Context, key string, page func(entries) error) error {
	for cursor := uint64(0); ; {
		fields, next, err := i.redis.HScan(ctx, key, cursor, "", listPage).Result()
		if err != nil {
			return err
		}
		var ids []string
		for i := 0; i+1 < len(fields); i += 2 {
			ids = append(ids, fields[i])
		}
		slices.Sort(ids)
		for some := range slices.Chunk(ids, listPage) {
			if err := page(entries{ids: some}); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// describeAll reads the stored data of tasks.
func (i *Inspector) describeAll(ctx context.Context, state State, some entries) ([]Task, error) {
	k, ids := i.keys, some.ids
	var records, tries, reasons, histories *redis.SliceCmd
	_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		records, tries = p.HMGet(ctx, k.Tasks(), ids...), p.HMGet(ctx, k.Tries(), ids...)
		reasons = p.HMGet(ctx, k.Reasons(), ids...)
		if state == Done && some.retained.IsZero() { // older programs note every end there
			histories = p.HMGet(ctx, k.History(), ids...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	text := func(values *redis.SliceCmd, i int) string {
		s, _ := values.Val()[i].(string)
		return s
	}
	tasks := make([]Task, len(ids))
	for i, id := range ids {
		tasks[i] = describe(id, state, text(records, i), text(tries, i), text(reasons, i))
		if some.scores != nil {
			tasks[i].stamp(some.scores[i])
		}
		if histories != nil {
			tasks[i].endedWith(parseHistory(text(histories, i)))
		}
	}
	return tasks, nil
}
