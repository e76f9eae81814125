package queue

import (
	"fmt"
	"strconv"
	"strings"
)

// gatheringOf returns what a session's claims gather, or nil.
func gatheringOf(s *Session) *Gathering {
	g := &Gathering{Name: "t"}
	if _, text, is := strings.Cut(s.gathers, " t|"); is {
		_, _ = fmt.Sscanf(text, "%d|%d|%d", &g.Number, &g.Tasks, &g.Bytes)
		return g
	}
	return nil
}

// gather draws what the next claim of an actor gathers: for the batch that it gathered for last, or
// for another.
func (m *machine) gather(a *actor) {
	if n := m.draw("gathers", 4); n == 0 || n == 3 { // which named cases choose
		a.session.Gather(nil, false)
		return
	}
	if a.batches == 0 || m.draw("next batch", 2) == 1 {
		a.batches++
	}
	g := Gathering{Name: "t", Number: a.batches, Tasks: m.draw("room", 4), Bytes: 10_000 * m.draw("bytes", 3)}
	a.session.Gather([]Gathering{{Name: "x", Number: 99, Tasks: 1, Bytes: 1}, g}, m.draw("eager", 4) > 0)
}

// lot is what a claim may take beside what it asks for.
type lot struct {
	*Gathering

	others int // tasks that fit into batches of names that no task has
	asked  int
	filled bool // and there are more for the next batch
}

// room is how many tasks fit into the batches that are gathered.
func (l *lot) room() int {
	if l.Gathering == nil || l.Bytes <= 0 {
		return l.others
	}
	return l.others + max(0, l.Tasks)
}

// admits reports whether a claim takes a task of the queue, and notes what it takes.
func (s *spec) admits(l *lot, t *specTask, name string, want int) bool {
	limited := s.Settings[t.queue()].limits().Concurrency > 0
	gathered := l.Gathering != nil && t.name() == l.Name && ParseTries(t.Tries).Crashes < QuarantineAfter-1
	if gathered && (l.Tasks <= 0 || l.Bytes <= 0) {
		l.filled = true
		return false
	}
	joins := gathered && limited && s.sharers(name, l.Number, t.queue()) > 0
	if !gathered && l.asked >= want || !joins && s.places(t.queue()) <= 0 {
		return false
	}
	t.Batch = 0
	if !gathered {
		l.asked++
		return true
	}
	l.Tasks, l.Bytes = l.Tasks-1, l.Bytes-len(t.Record)-t.Body.Size
	if limited {
		t.Batch = l.Number
		s.Gathers[t.queue()] = specGatherer{name, l.Number}
	}
	return true
}

// sharers is how many tasks of a batch an incarnation has in hand of a queue.
func (s *spec) sharers(name string, number uint64, queue string) int {
	n := 0
	for _, t := range s.Tasks {
		if t.State == stateActive && t.queue() == queue && t.Owner == name && t.Batch == number {
			n++
		}
	}
	return n
}

// specGatherer is a batch of an incarnation.
type specGatherer struct {
	Name   string
	Number uint64
}

// parted notes that a task has left its batch.
func (s *spec) parted(name string, number uint64, queue string) {
	if g := (specGatherer{name, number}); s.Gathers[queue] == g && s.sharers(name, number, queue) == 0 {
		delete(s.Gathers, queue)
	}
}

// shared is how many tasks of a queue in hand count for nothing, as another of their batch counts.
func (s *spec) shared(queue string) int {
	n, batches := 0, map[string]bool{}
	for _, t := range s.Tasks {
		if t.State == stateActive && t.queue() == queue && t.Batch > 0 {
			n++
			batches[fmt.Sprint(t.Owner, t.Batch)] = true
		}
	}
	return n - len(batches)
}

func (s *spec) renderBatches(out stored) {
	for queue, g := range s.Gathers {
		out.put("active", queue+"|gathers", fmt.Sprintf("%s|%d", g.Name, g.Number))
	}
	for queue := range s.Queues {
		if n := s.shared(queue); n > 0 {
			out.put("active", queue+"|shared", strconv.Itoa(n))
		}
	}
	for _, t := range s.Tasks {
		if t.State == stateActive && t.Batch > 0 {
			out.put("stream:"+t.Owner, fmt.Sprintf("#%d|%s", t.Batch, t.queue()), strconv.Itoa(s.sharers(t.Owner, t.Batch, t.queue())))
		}
	}
}

// joint has what is done end together, or not at all.
func (m *machine) joint(batch []*Run) (units []*Run) {
	var first *Run
	var others []*Run
	for _, r := range batch {
		switch {
		case r.outcome.verb != Done || r.outcome.args == nil:
			units = append(units, r)
		case first == nil:
			first = r
			units = append(units, r)
		case len(r.outcome.effects) == 0:
			others = append(others, r)
		default:
			units = append(units, r)
		}
	}
	if first != nil {
		first.Join(others)
	}
	return units
}

// commitJoint ends tasks, of which those that are done are so together.
func (m *machine) commitJoint() {
	m.commitAll(func(o *Run) {
		if m.draw("done", 4) == 0 {
			m.verb(o)
			return
		}
		o.outcome.verb, o.outcome.args = Done, []any{"", "", ""}
		if m.draw("with effects", 3) == 0 {
			m.effects(o)
		}
	}, m.joint)
}

// decide returns the codes of runs that end together, or of one.
func (s *spec) decide(name string, runs []*Run) []string {
	codes, apart, refused := make([]string, len(runs)), false, ""
	for i, o := range runs {
		codes[i] = s.refusal(name, o)
		if refused == "" {
			refused = codes[i]
		}
		apart = apart || len(runs) > 1 && (codes[i] == "FENCED" || s.Tasks[o.ID].Asked)
	}
	for i := range codes {
		switch {
		case codes[i] == "FENCED":
		case apart:
			codes[i] = Apart
		default:
			codes[i] = refused
		}
	}
	return codes
}
