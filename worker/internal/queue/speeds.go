package queue

import "time"

// speedsEvery is how often the speeds of a node's queues are noted while nothing but plain work
// is committed: noting them takes a fifth of the time of a small commit.
const speedsEvery = 250 * time.Millisecond

// speedWords is how many arguments one queue's speed has.
const speedWords = 5

// speeds are throughput figures that wait for the next commit, by queue.
type speeds struct {
	noted time.Time
	order []string
	of    map[string]*speed
}

// speed has the number of done tasks of a queue, how many of them ran for the first time, the
// total time that these first runs waited, and the total time that all ran.
type speed struct {
	runs, first int
	waited, ran time.Duration
}

// add adds the done tasks of a batch.
func (s *speeds) add(batch []*Run) {
	for _, r := range batch {
		if r.outcome.verb != Done {
			continue
		}
		of := s.of[r.outcome.queue]
		if of == nil {
			if s.of == nil {
				s.of = map[string]*speed{}
			}
			of = &speed{}
			s.of[r.outcome.queue] = of
		}
		if of.runs == 0 {
			s.order = append(s.order, r.outcome.queue)
		}
		of.runs++
		of.ran += r.Ran
		if r.Tries == (Tries{}) {
			of.first++
			of.waited += r.Waited
		}
	}
}

// due returns what take returns, if it is time to note it.
func (s *speeds) due() []any {
	if time.Since(s.noted) < speedsEvery {
		return nil
	}
	return s.take()
}

// take returns the figures as arguments of speed.lua, speedWords for each queue, and begins
// anew. Times are in microseconds.
func (s *speeds) take() []any {
	s.noted = time.Now()
	args := make([]any, 0, speedWords*len(s.order))
	for _, queue := range s.order {
		of := s.of[queue]
		args = append(args, queue, of.runs, of.first, of.waited.Microseconds(), of.ran.Microseconds())
		*of = speed{}
	}
	s.order = s.order[:0]
	return args
}
