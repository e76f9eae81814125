package queue

import (
	"cmp"
	"strconv"
	"strings"
)

// seize returns who has the unique key, or takes it.
func (s *spec) seize(name, id string, lasting int64) string {
	if k, has := s.Unique[name]; has && k.Holder != id {
		if k.Until > s.Now || k.Until == 0 && s.Tasks[k.Holder] != nil {
			return k.Holder
		}
	}
	k := specKey{Holder: id}
	if lasting > 0 {
		k.Until = s.Now + lasting
	}
	s.Unique[name] = k
	return ""
}

// add stores a task, or returns why not.
func (s *spec) add(p Task, bounded bool) string {
	code := s.store(p, bounded)
	if holder, _ := strings.CutPrefix(code, "unique="); code == "taken" {
		s.await(p, p.ID)
	} else if holder != code {
		s.await(p, holder)
	}
	if code == "" || code == "taken" {
		delete(s.unstored, p.ID)
	} else {
		s.unstored[p.ID] = code
	}
	return code
}

// await has the end of a task announced if the one that is to be stored asks for it, and
// the task has not ended.
func (s *spec) await(p Task, id string) {
	if t := s.Tasks[id]; p.awaited && t != nil && (t.State == stateActive || t.waiting()) {
		t.Awaited = true
	}
}

func (s *spec) store(p Task, bounded bool) string {
	queue := queueOf(p.line)
	t := &specTask{ID: p.ID, Line: p.line, Record: p.head + strconv.FormatInt(cmp.Or(s.stamp, s.Now), 16) + p.tail, Chosen: p.chosen, Awaited: p.awaited}
	r, err := ParseRecord(t.Record)
	if err != nil {
		panic(err)
	}
	t.Options, t.Payload, t.Body = r.Options, string(r.Payload)+string(p.body.payload), r.Body
	if p.chosen && s.Tasks[p.ID] != nil {
		return "taken"
	}
	limits := s.Settings[queue].limits()
	if bounded && (limits.Tasks > 0 && s.load(queue) >= limits.Tasks ||
		limits.Bytes > 0 && s.bytes(queue)+t.size() > limits.Bytes) {
		return "full"
	}
	for _, id := range t.Options.After {
		if code := s.unstored[id]; code != "" {
			return code
		}
	}
	if p.unique != "" {
		if holder := s.seize(p.unique, p.ID, t.Options.UniqueFor); holder != "" {
			return "unique=" + holder
		}
	}
	s.Tasks[p.ID] = t
	s.weigh(t)
	s.Queues[queue] = true
	s.tally(queue, "enqueued")
	for _, id := range t.Options.After {
		if other := s.Tasks[id]; other != nil && other.State == stateCancelled {
			s.cancel(t)
			return ""
		}
	}
	t.Waits = map[string]bool{}
	for _, id := range t.Options.After {
		if other := s.Tasks[id]; other != nil && other.State != stateDone && !t.Waits[id] {
			t.Waits[id] = true
			other.Followers = append(other.Followers, t.ID)
		}
	}
	if len(t.Waits) > 0 {
		t.State = stateBlocked
		return ""
	}
	s.place(t)
	return ""
}
