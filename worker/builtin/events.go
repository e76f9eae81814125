package builtin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/timeline"
)

// MetaBy is the key of a call's metadata that names who calls, such as "ada@desk". It is for people to
// read: it proves nothing.
const MetaBy = "stellar.by"

// Caller returns who makes the call that ctx belongs to, "" outside a call.
func Caller(ctx context.Context) string {
	if !rpcregistry.InCall(ctx) {
		return ""
	}
	c := rpcregistry.FromContext(ctx)
	return cmp.Or(c.Meta[MetaBy], c.From.ID)
}

// eventText are the arguments of api.set.mark.
type eventText struct {
	Text string `json:"text"`
}

// eventDefault is how many events api.set.events returns without a limit.
const eventDefault = 100

// registerEvents adds the methods about the cluster's timeline.
func registerEvents(r rpcregistry.Registrar, events *timeline.Timeline) {
	handle(r, "api.set.events", func(ctx context.Context, f timeline.Filter) ([]timeline.Event, error) {
		if err := f.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", rpcregistry.ErrBadArguments, err)
		}
		f.Limit = min(cmp.Or(f.Limit, eventDefault), listMost)
		found, err := events.List(ctx, f)
		return latest(found), err
	})
	handle(r, "api.set.mark", func(ctx context.Context, in eventText) (none, error) {
		err := events.Mark(ctx, in.Text, Caller(ctx))
		if errors.Is(err, timeline.ErrMark) {
			err = fmt.Errorf("%w: %w", rpcregistry.ErrBadArguments, err)
		}
		return none{}, err
	})
}

// latest returns as many of the last events as fit into a response.
func latest(events []timeline.Event) []timeline.Event {
	room := listReply
	for i, e := range slices.Backward(events) {
		text, err := json.Marshal(e)
		if room -= len(text) + 1; err != nil || room < 0 {
			return events[i+1:]
		}
	}
	return events
}
