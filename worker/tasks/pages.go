package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// ExportPage is a part of an export.
type ExportPage struct {
	// Lines are tasks, each as [Inspector.Export] writes it.
	Lines []json.RawMessage `json:"lines"`
	// Next is the cursor of the next page, empty with the last one.
	Next string `json:"next,omitempty"`
	// Skipped counts tasks whose payload cannot be read. TooLarge are the ids of those whose lines are larger
	// than a page may be: Export writes these too.
	Skipped  int      `json:"skipped,omitempty"`
	TooLarge []string `json:"tooLarge,omitempty"`
}

// ExportPage returns a page of what [Inspector.Export] writes: at most size bytes of lines, and at most Limit tasks of the
// filter if that is set. cursor is "" at first, then the Next of the page before, with the same filter. Each page reads the
// ids of the tasks before it again, and tasks that move meanwhile move the others: pause the queues before. An
// import of a task that came twice stores it once.
func (i *Inspector) ExportPage(ctx context.Context, f Filter, cursor string, size int) (ExportPage, error) {
	page := ExportPage{Lines: []json.RawMessage{}}
	f, err := f.exported()
	var from position
	if err == nil {
		from, err = parsePosition(cursor, f.States)
	}
	if err != nil {
		return page, fmt.Errorf("export tasks: %w", err)
	}
	room := size
	for _, state := range f.States[slices.Index(f.States, from.state):] {
		if state != from.state {
			from = position{state, 0}
		}
		err := i.listFrom(ctx, state, from.at, f, func(t Task, at int) bool {
			if !exportable(t) {
				page.Skipped++
				return true
			}
			text, err := json.Marshal(lineOf(t))
			length := len(text) + 1 // with the end of the line
			switch full := length > room || f.Limit > 0 && len(page.Lines) == f.Limit; {
			case err != nil:
				page.Skipped++
			case length > size:
				page.TooLarge = append(page.TooLarge, t.ID)
			case full:
				page.Next = position{state, at}.String()
				return false
			default:
				page.Lines, room = append(page.Lines, text), room-length
			}
			return true
		})
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return ExportPage{}, fmt.Errorf("export tasks: %w", link.Explain(err))
		}
	}
	return page, nil
}

// listFrom calls yield for the tasks of a state that a filter selects, with their places among all of that state,
// from a place on. It returns errEnough when yield returns false.
func (i *Inspector) listFrom(ctx context.Context, state State, from int, f Filter, yield func(t Task, at int) bool) error {
	before := 0
	return i.places(ctx, state, f, func(some entries) error {
		first, n := before, len(some.ids)
		before += n
		gone := min(n, max(0, from-first))
		if gone == n {
			return nil
		}
		some.ids = some.ids[gone:]
		if some.scores != nil {
			some.scores = some.scores[gone:]
		}
		at := make(map[string]int, len(some.ids))
		for n, id := range some.ids {
			at[id] = first + gone + n
		}
		tasks, err := i.describeAll(ctx, state, some)
		if err != nil {
			return err
		}
		tasks = slices.DeleteFunc(tasks, func(t Task) bool { return !f.matches(t) })
		return i.search(ctx, f, tasks, func(t Task) bool { return yield(t, at[t.ID]) })
	})
}

// position is how far an export in pages has come: the tasks of a state before at are done.
type position struct {
	state State
	at    int
}

// String returns the position as a cursor.
func (p position) String() string { return string(p.state) + ":" + strconv.Itoa(p.at) }

func parsePosition(cursor string, states []State) (position, error) {
	if cursor == "" {
		return position{states[0], 0}, nil
	}
	state, text, _ := strings.Cut(cursor, ":")
	at, err := strconv.Atoi(text)
	if p := (position{State(state), at}); err == nil && at >= 0 && slices.Contains(states, p.state) {
		return p, nil
	}
	return position{}, fmt.Errorf("%w: cursor %.40q: use the next of the page before, with the same filter", ErrInvalid, cursor)
}

// Imported is what became of a line of an import.
type Imported struct {
	ID      string `json:"id,omitempty"`
	Verdict string `json:"verdict"`         // ImportStored, ImportExisting or ImportRefused
	Error   string `json:"error,omitempty"` // why it was refused
}

// Verdicts of [Imported].
const (
	ImportStored   = "stored"
	ImportExisting = "existing" // a task with its id or unique key was there
	ImportRefused  = "refused"
)

// ImportLines is [Client.Import] for some lines of an export, with a verdict for each: a line that is refused keeps
// back no other. With an error there are no verdicts, and some may be stored: the call can be repeated.
func (c *Client) ImportLines(ctx context.Context, lines []json.RawMessage) ([]Imported, error) {
	verdicts := make([]Imported, len(lines))
	var requests []Request
	var of []*Imported // what became of each
	for n, text := range lines {
		v := &verdicts[n]
		r, err := c.parseLine(text)
		if v.ID = r.ID; err != nil {
			v.refuse(err)
			continue
		}
		requests, of = append(requests, r), append(of, v)
	}
	if len(requests) == 0 {
		return verdicts, nil
	}
	receipts, err := c.EnqueueMany(ctx, requests)
	if len(receipts) < len(requests) {
		return nil, fmt.Errorf("import tasks: %w", err)
	}
	for n, receipt := range receipts {
		switch v := of[n]; {
		case receipt.Duplicate:
			v.Verdict = ImportExisting
		case receipt.ID != "":
			v.Verdict = ImportStored
		case errors.Is(err, ErrQueueFull):
			v.refuse(fmt.Errorf("queue %s: %w", requests[n].Queue, ErrQueueFull))
		default:
			v.refuse(err)
		}
	}
	return verdicts, nil
}

func (i *Imported) refuse(err error) { i.Verdict, i.Error = ImportRefused, err.Error() }
