package queue

import (
	"slices"
	"strconv"
)

// verb draws how a task ends, and its effects.
func (m *machine) verb(o *Run) {
	t := o.Tries
	switch m.draw("verb", 11) {
	case 0:
		o.outcome.verb, o.outcome.args = "later", []any{1 + m.draw("pause", 5000), "1|" + strconv.Itoa(t.Crashes), `{"attempt":1}`}
	case 1:
		o.outcome.verb, o.outcome.args = "snooze", []any{m.draw("pause", 5000), t.String()}
	case 2:
		o.outcome.verb, o.outcome.args = "dead", []any{t.String(), `{"reason":"failed","error":"x"}`}
	case 3:
		o.outcome.verb = "back"
	case 4:
		o.outcome.verb, o.outcome.args = "park", []any{o.Record.Name}
	case 5: // kept, with a result
		o.outcome.verb, o.outcome.args = Done, []any{5000 + 4000*m.draw("longer", 2), 5000, "1"}
	case 6: // its id alone is remembered
		o.outcome.verb, o.outcome.args = Done, []any{9000, "", ""}
	case 7: // a result for those who wait
		o.outcome.verb, o.outcome.args = Done, []any{"", "", "2"}
	case 9:
		o.outcome.verb, o.outcome.args = Throttle, []any{1 + m.draw("pause", 5000)}
	case 8:
		o.outcome.verb, o.outcome.args = Aside, []any{m.draw("pause", 5000)}
	default:
		o.outcome.verb, o.outcome.args = Done, []any{"", "", ""}
		m.effects(o)
	}
}

// effects draws some; one that is refused undoes all.
func (m *machine) effects(o *Run) {
	entry := func(key string) []any { return []any{m.cache.EntryKey(key), m.cache.LockKey(key), "", 1} }
	o.outcome.effects = append(o.outcome.effects, NewEffect("increment", entry("effects")...))
	if m.draw("a follow-up", 2) == 1 {
		follow := m.options()
		if m.draw("chosen", 2) == 1 {
			follow.ID, follow.After = "c"+strconv.Itoa(m.draw("chosen id", 4)), nil
		}
		o.outcome.effects = append(o.outcome.effects, EnqueueEffect(m.ready(follow)[0]))
	}
	if m.draw("refused", 4) == 0 {
		o.outcome.effects = slices.Insert(o.outcome.effects, m.draw("which", len(o.outcome.effects)), NewEffect("increment", entry("list")...))
	}
}

func (m *machine) outcome(c Claimed, verb func(*Run)) *Run {
	r := &Run{Claimed: c}
	r.outcome.queue, r.outcome.grouped = c.Record.Queue(), c.Record.Group() != ""
	if m.shared[c.ID] { // as a node does that gathers
		r.Members = []*Run{}
	}
	if verb(r); r.Members != nil && r.outcome.verb == Done && r.outcome.args == nil {
		r.outcome.args = []any{"", "", ""}
	}
	return r
}
