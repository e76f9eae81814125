package queue

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
)

// hook stores the task of a hook. why is the reason as the script writes it.
func (s *spec) hook(dead *specTask, why string) {
	hook := s.Definitions.All[dead.name()].OnDead
	if hook == "" || dead.Options.Death != nil {
		return
	}
	t := &specTask{Line: cmp.Or(s.Definitions.All[hook].Queue, "default"), Payload: dead.Payload}
	ms := s.Now
	for s.Tasks[fmt.Sprintf("%s.dead.%d", dead.ID, ms)] != nil {
		ms++
	}
	t.ID = fmt.Sprintf("%s.dead.%d", dead.ID, ms)
	payload := dead.Payload
	if dead.Body.Name != "" {
		t.Body = BodyRef{dead.Body.Name + "d" + strconv.FormatInt(ms+1, 16), dead.Body.Size}
		payload = refMark + t.Body.String()
	}
	t.Options = Options{
		Meta:  dead.Options.Meta,
		Death: &Death{dead.ID, dead.name(), dead.queue(), dead.Tries, s.Now, json.RawMessage(why)},
	}
	t.Record = Record{Name: hook, Line: t.Line}.head() + strconv.FormatInt(s.Now, 16) + t.Options.String() + payload
	s.Tasks[t.ID] = t
	s.weigh(t)
	s.tally(t.Line, "enqueued")
	s.place(t)
	s.hooked[t.Line]++
}
