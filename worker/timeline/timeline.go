package timeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// ErrMark is wrapped by the error about a mark without a text, or with too long a one.
var ErrMark = errors.New("not a mark's text")

// Timeline reads the events of a namespace. Make one with [New].
type Timeline struct {
	client redis.UniversalClient
	keys   link.Keys
	who    string
	self   Process
}

// New returns the timeline of a namespace. Marks are by who, from the process self.
func New(c redis.UniversalClient, keys link.Keys, who string, self Process) *Timeline {
	return &Timeline{client: c, keys: keys, who: who, self: self}
}

// Filter selects events. The zero value selects all.
type Filter struct {
	Since time.Time `json:"since"` // on Redis's clock
	Until time.Time `json:"until"`
	After string    `json:"after"` // only events that were written after the one with that id
	Kinds []Kind    `json:"kinds"`
	Node  string    `json:"node"`  // only events about that node
	Limit int       `json:"limit"` // the latest so many; 0: all
}

// Validate reports what is wrong with a filter.
func (f Filter) Validate() error {
	if f.Limit < 0 {
		return fmt.Errorf("limit %d: use a positive number, or 0 for all", f.Limit)
	}
	if f.After != "" && !isID.MatchString(f.After) {
		return fmt.Errorf("after %.40q: use the id of an event", f.After)
	}
	for _, k := range f.Kinds {
		if !slices.Contains(Kinds(), k) {
			return fmt.Errorf("kind %.40q: use some of %s", k, joined(Kinds()))
		}
	}
	return nil
}

// isID matches the id of an entry of a stream.
var isID = regexp.MustCompile(`^\d{1,19}-\d{1,19}$`)

func joined(kinds []Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

func (f Filter) matches(e Event) bool {
	return (f.Since.IsZero() || !e.At.Before(f.Since) || e.Until.After(f.Since)) && (f.Until.IsZero() || e.At.Before(f.Until)) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) && (f.Node == "" || slices.Contains(e.Nodes, f.Node))
}

// page is how many events are read at a time.
const page = 250

// List returns the latest events that the filter selects, the oldest first. Entries of the stream
// that are not ours are passed over.
func (t *Timeline) List(ctx context.Context, f Filter) ([]Event, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	found, end := []Event{}, "+"
	from := "-"
	if f.After != "" {
		from = "(" + f.After
	}
	for f.Limit == 0 || len(found) < f.Limit {
		entries, err := t.client.XRevRangeN(ctx, t.keys.Events(), end, from, page).Result()
		if err != nil {
			return nil, fmt.Errorf("read events: %w", link.Explain(err))
		}
		for _, x := range entries {
			if e, ours := parse(x.ID, x.Values); ours && f.matches(e) && (f.Limit == 0 || len(found) < f.Limit) {
				found = append(found, e)
			}
		}
		if len(entries) < page {
			break
		}
		end = "(" + entries[len(entries)-1].ID
	}
	slices.Reverse(found)
	slices.SortStableFunc(found, func(a, b Event) int { return a.At.Compare(b.At) })
	return found, nil
}

// followPause is how often a follower looks.
const followPause = 500 * time.Millisecond

// Follow yields the events that the filter selects, and goes on with those to come until
// ctx ends. While Redis is away it waits. Events come in the order in which they were written;
// one that waited for Redis comes late. An error ends the sequence.
func (t *Timeline) Follow(ctx context.Context, f Filter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			var events []Event
			err := link.Retry(ctx, func(ctx context.Context) (err error) {
				events, err = t.List(ctx, f)
				return err
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			slices.SortFunc(events, func(a, b Event) int { return compareIDs(a.ID, b.ID) })
			for _, e := range events {
				f.After = e.ID
				if !yield(e, nil) {
					return
				}
			}
			f.Limit = 0
			if link.Sleep(ctx, followPause) != nil {
				return
			}
		}
	}
}

// compareIDs compares the ids of two entries of a stream.
func compareIDs(a, b string) int {
	am, as, _ := strings.Cut(a, "-")
	bm, bs, _ := strings.Cut(b, "-")
	for _, d := range []int{len(am) - len(bm), strings.Compare(am, bm), len(as) - len(bs)} {
		if d != 0 {
			return d
		}
	}
	return strings.Compare(as, bs)
}

// Mark writes a text into the timeline, such as what was deployed. While Redis is away it waits
// until ctx ends. by is who wrote it, "" for the one whose timeline it is. The error is an
// [ErrMark], or one of link.Explain.
func (t *Timeline) Mark(ctx context.Context, text, by string) error {
	if strings.TrimSpace(text) == "" || len(text) > MaxText {
		return fmt.Errorf("%w: use 1 to %d bytes", ErrMark, MaxText)
	}
	return t.Write(ctx, Event{Kind: Mark, Text: text, By: by})
}

// Write writes an event that happens now, for a program that ends too soon for a
// [Recorder]. While Redis is away it waits until ctx ends.
func (t *Timeline) Write(ctx context.Context, e Event) error {
	if e.By == "" {
		e.By = t.who
	}
	if e.Process == (Process{}) {
		e.Process = t.self
	}
	now, again := time.Now(), false
	w := newWriter(t.client, t.keys)
	n := &noted{Event: e, number: 1, first: now, last: now}
	return link.Retry(ctx, func(ctx context.Context) error {
		err := w.write(ctx, []*noted{n}, again)
		again = again || err != nil && link.OutcomeOf(err) != link.DidNotRun
		return err
	})
}
