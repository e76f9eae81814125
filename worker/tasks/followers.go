package tasks

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// follower is a blocked task, and what it follows.
type follower struct {
	id       string
	enqueued time.Time
	after    []string
	placed   bool
}

// pageFollowers calls page with the ids of all blocked tasks, each behind those that it follows.
func (i *Inspector) pageFollowers(ctx context.Context, page func(entries) error) error {
	var all []*follower
	byID := map[string]*follower{}
	err := i.pageHash(ctx, i.keys.Blocked(), func(some entries) error {
		tasks, err := i.describeAll(ctx, Blocked, some)
		for _, t := range tasks {
			if byID[t.ID] == nil {
				byID[t.ID] = &follower{id: t.ID, enqueued: t.Enqueued, after: t.After}
				all = append(all, byID[t.ID])
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	// Most have been stored later than what they follow, which keeps place from nesting deep.
	slices.SortFunc(all, func(a, b *follower) int { return cmp.Or(a.enqueued.Compare(b.enqueued), cmp.Compare(a.id, b.id)) })
	ids := make([]string, 0, len(all))
	var place func(f *follower)
	place = func(f *follower) {
		if f == nil || f.placed {
			return
		}
		f.placed = true
		for _, id := range f.after {
			place(byID[id])
		}
		ids = append(ids, f.id)
	}
	for _, f := range all {
		place(f)
	}
	for some := range slices.Chunk(ids, listPage) {
		if err := page(entries{ids: some}); err != nil {
			return err
		}
	}
	return nil
}
