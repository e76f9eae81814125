package queue

import "github.com/stellarfw/stellar/redisbus/link"

// End is what became of a task by a script whose caller cannot know it: such as a
// task that waited and that followed a cancelled one.
type End struct{ ID, Name, Queue, How string }

// What becomes of a task by a script.
const (
	Cancelled   = "cancelled"
	Deleted     = "deleted"
	Quarantined = "quarantined" // dead, after too many crashes
	Duplicate   = "duplicate"   // a follow-up task that was not stored: its id or unique key is taken
)

// takeEnds returns the ends that a reply begins with, if there are any (with_ended in
// places.lua), and the rest.
func takeEnds(r link.Reply) (ends []End, rest link.Reply) {
	first := r.Row(0)
	words, err := first.Texts()
	if err != nil || first.IsNil() {
		return nil, r // no table: a reply without
	}
	for i := 0; i+3 < len(words); i += 4 {
		ends = append(ends, End{words[i], words[i+1], words[i+2], words[i+3]})
	}
	return ends, r.From(1)
}

// report gives ends to f, which may be nil.
func report(f func(End), ends []End) {
	if f == nil {
		return
	}
	for _, e := range ends {
		f(e)
	}
}
