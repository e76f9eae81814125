package queue

import "github.com/stellarfw/stellar/redisbus/link"

// End reports a task that a script ended without the caller knowing in advance, for
// example a blocked task that was cancelled because it followed a cancelled task.
type End struct{ ID, Name, Queue, How string }

// The values of [End].How.
const (
	Cancelled   = "cancelled"
	Deleted     = "deleted"
	Quarantined = "quarantined" // dead, after too many crashes
	Deadline    = "deadline"    // dead: its deadline passed while it waited
	Duplicate   = "duplicate"   // a follow-up task that was not stored: its id or unique key is taken
)

// takeEnds splits a reply into the ends at its beginning, if there are any (with_ended in
// places.lua), and the rest.
func takeEnds(r link.Reply) (ends []End, rest link.Reply) {
	first := r.Row(0)
	words, err := first.Texts()
	if err != nil || first.IsNil() {
		return nil, r // no table: a reply without ends
	}
	for i := 0; i+3 < len(words); i += 4 {
		ends = append(ends, End{words[i], words[i+1], words[i+2], words[i+3]})
	}
	return ends, r.From(1)
}

// report calls f, which may be nil, for each end.
func report(f func(End), ends []End) {
	if f == nil {
		return
	}
	for _, e := range ends {
		f(e)
	}
}
