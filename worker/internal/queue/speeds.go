package queue

import "time"

// speedWords is how many arguments one queue's speed has.
const speedWords = 5

// speeds returns the batch's throughput figures as arguments of speed.lua, speedWords for
// each queue: its name, the number of done tasks, how many of them ran for the first time, the total time
// that these first runs waited, and the total time that all ran, in microseconds.
func speeds(batch []*Run) []any {
	type speed struct {
		runs, first int
		waited, ran time.Duration
	}
	var order []string
	of := map[string]*speed{}
	for _, r := range batch {
		if r.outcome.verb != Done {
			continue
		}
		queue := r.outcome.queue
		s := of[queue]
		if s == nil {
			s = &speed{}
			of[queue] = s
			order = append(order, queue)
		}
		s.runs++
		s.ran += r.Ran / time.Duration(max(len(r.Members), 1)) // a batch takes one slot
		if r.Tries == (Tries{}) {
			s.first++
			s.waited += r.Waited
		}
	}
	args := make([]any, 0, speedWords*len(order))
	for _, q := range order {
		s := of[q]
		args = append(args, q, s.runs, s.first, s.waited.Microseconds(), s.ran.Microseconds())
	}
	return args
}
