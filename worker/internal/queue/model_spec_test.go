package queue

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// spec is what the tasks of a namespace must be: a plain program in the memory of
// one goroutine. Counters (active, bytes, how many a blocked task waits for) are
// not kept but counted, so that they cannot drift in the same way as on Redis.
type spec struct {
	Now          int64 // Redis's clock in ms
	Tasks        map[string]*specTask
	Lines        map[string][]string // served from the right
	Parked       map[string][]string // by queue|name, served from the right
	Queues       map[string]bool
	Settings     map[string]*specSettings
	Weighing     map[string]*specWeighing
	Unique       map[string]specKey
	Incarnations map[string]*specIncarnation
	Producers    map[string]specProducer
	Ticks        map[string]string // of periodic tasks: last|1 when paused, 0 before it until one has run
	PeriodicSet  map[string]string // the definitions that were set
	Schedules    map[string]string // of periodic tasks, as Redis has them
	Registered   map[string]int64
	Programs     map[string]string // when each said so, and the name that it registers
	TickHistory  map[string]string
	Idle         map[string]map[string]bool
	Stats        map[string]int
	Definitions  specDefinitions
	Effects      int // runs whose effects count
	Ready        map[string]bool
	Lists        map[string][]string // that are stored, by queue
	Next         map[string]int64
	Tended       map[string]specTender
	Retained     specRetained
	Groups       specGroups
	Gathers      map[string]specGatherer // the batch that a task came to last, by queue
	Mover        specMover

	stamp   int64             // the time in ready records; 0: they get it from the script
	touched map[string]bool   // queues for which this step wakes somebody
	woken   map[string]int    // how many it wakes, by the set of idle nodes
	called  map[string]string // who is woken for its batch, likewise
	handed  map[string]int    // tasks that were handed on, by line: in any order
	taken   map[string]int    // tasks that a claim has got, by queue and party
	freed   []string          // parties that have a task less in hand
	hooked  map[string]int    // tasks of hooks that were stored, likewise
	// unstored are the ids that this step did not store, and why.
	unstored map[string]string
	// ends counts what the scripts of this step have to tell.
	ends map[string]int
}

type specTask struct {
	ID, Line, Record string // Record is empty once only the id is remembered
	Options          Options
	Payload          string
	Body             BodyRef // of a payload that is not in the record
	Chosen           bool
	State            state
	Due              int64 // of a delayed one
	Owner            string
	Claim            uint64
	Place            int             // in its claim, of one from a queue with groups
	Batch            uint64          // that it shares a place of its queue with, while it is in hand; 0: none
	Since            int64           // when it was claimed
	Waits            map[string]bool // ids that must be done before
	Followers        []string
	Ended            int64 // of a dead or cancelled one
	Until, Kept      int64 // of a done one: the id, and the result (of an older program the record too), are remembered
	Retained         int64 // of a done one: its record and result are remembered
	Tries            string
	Reason           string
	Past             string
	Result           string
	Asked            bool // to be cancelled
	Awaited          bool
	Progress         bool
	Steps            specSteps
}

func (t *specTask) queue() string { return queueOf(t.Line) }

// keptAlone returns until when the result is kept if that is not as long as the id is
// remembered, or 0.
func (t *specTask) keptAlone() int64 {
	if t.Kept == t.Until {
		return 0
	}
	return t.Kept
}

func (t *specTask) size() int64 { return int64(len(t.Record)+t.Body.Size) + t.Steps.bytes() }

func (t *specTask) name() string { return strings.SplitN(t.Record, "|", 2)[0] }

// waiting reports whether the task has neither ended nor is in somebody's hands.
func (t *specTask) waiting() bool {
	return t.State == statePending || t.State == stateParked || t.State == stateDelayed || t.State == stateBlocked
}

// expires reports whether the task ends at its deadline without a node.
func (t *specTask) expires() bool { return t.waiting() && t.Options.Deadline > 0 }

// expiry returns when it does, or 0.
func (t *specTask) expiry() int64 {
	if t.expires() {
		return t.Options.Deadline
	}
	return 0
}

type specTender struct {
	Name string
	Till int64
}

type specMover struct {
	ID      string
	Promise int64
}

type specKey struct {
	Holder string
	Until  int64 // 0: as long as its task is stored
}

type specIncarnation struct {
	Deadline      int64 // negative: condemned
	Claim, Commit uint64
	Refused       *string // of the last commit: 1=CODE,…
	Queues, List  string
	Solo          string
	Quiet, Asked  bool
}

// hasStream reports whether Redis has something of the incarnation's session.
func (i *specIncarnation) hasStream() bool {
	return i.Claim > 0 || i.Commit > 0 || i.Refused != nil || i.Queues != "" || i.List != "" || i.Solo != "" || i.Quiet || i.Asked
}

func newSpec(now int64) *spec {
	return &spec{
		Now: now, Tasks: map[string]*specTask{}, Lines: map[string][]string{}, Parked: map[string][]string{},
		Queues: map[string]bool{}, Settings: map[string]*specSettings{}, Weighing: map[string]*specWeighing{}, Unique: map[string]specKey{},
		Incarnations: map[string]*specIncarnation{}, Producers: map[string]specProducer{}, Ticks: map[string]string{},
		Idle: map[string]map[string]bool{}, Stats: map[string]int{}, Ready: map[string]bool{}, Lists: map[string][]string{}, Next: map[string]int64{}, Tended: map[string]specTender{},
		PeriodicSet: map[string]string{}, Schedules: map[string]string{}, Registered: map[string]int64{}, Programs: map[string]string{}, TickHistory: map[string]string{},
		Retained: specRetained{map[string][]string{}, map[string]bool{}}, Groups: newSpecGroups(), Gathers: map[string]specGatherer{},
	}
}

// clone returns a copy that shares nothing.
func (s *spec) clone() *spec {
	text, err := json.Marshal(s) //nolint:musttag // nobody else reads it
	if err != nil {
		panic(err)
	}
	c := newSpec(0)
	if err := json.Unmarshal(text, c); err != nil { //nolint:musttag // nobody else writes it
		panic(err)
	}
	return c
}

func (s *spec) tally(queue, what string) {
	s.Stats[queue+"|"+what]++
	switch what {
	case Cancelled, Deleted, Quarantined:
		s.ends[queue+"|"+what]++
	}
}

func (s *spec) pending(queue string) bool {
	return s.waits(queue, "") || len(s.Groups.Turns[queue]) > 0
}

func (s *spec) note(t *specTask, event string) {
	t.Past += strconv.FormatInt(s.Now, 10) + "|" + event + "\n"
}

// periodicOf returns the periodic task of a tick's id.
func periodicOf(id string) string { return id[:strings.LastIndex(id, ":")] }

// loosen is what follows from the end of a task.
func (s *spec) loosen(t *specTask, how state) {
	if name := t.Options.Unique; name != "" && t.Record != "" {
		if k, has := s.Unique[name]; has && k.Holder == t.ID && k.Until == 0 {
			delete(s.Unique, name)
		}
	}
	s.letGo(t.ID)
	delete(s.Groups.Returned, t.ID)
	if t.Awaited && how == stateDone {
		t.Until = s.Now + 60000
	}
	t.Awaited, t.Asked, t.Progress = false, false, false
	if how == stateDead {
		return
	}
	followers := t.Followers
	t.Followers = nil
	for _, id := range followers {
		f := s.Tasks[id]
		if f == nil || f.State != stateBlocked || !f.Waits[t.ID] {
			continue
		}
		if how != stateDone {
			s.cancel(f)
		} else if delete(f.Waits, t.ID); len(f.Waits) == 0 {
			s.place(f)
		}
	}
}

func (s *spec) cancel(t *specTask) {
	s.takeOut(t)
	t.State, t.Ended, t.Reason = stateCancelled, s.Now, "cancelled"
	s.note(t, "cancelled")
	s.tally(t.queue(), "cancelled")
	s.loosen(t, stateCancelled)
}

// reasonIn returns the word for a reason in JSON.
func reasonIn(why string) string {
	var reason struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal([]byte(why), &reason)
	return reason.Reason
}

// bury ends a task as dead. why is the reason as the script writes it.
func (s *spec) bury(t *specTask, why string) {
	s.takeOut(t)
	t.State, t.Ended, t.Reason = stateDead, s.Now, reasonIn(why)
	s.note(t, "dead")
	s.tally(t.queue(), "dead")
	s.hook(t, why)
	s.loosen(t, stateDead)
}

// drop forgets a task that has not been done, as what it counts.
func (s *spec) drop(t *specTask, what string) {
	s.takeOut(t)
	s.tally(t.queue(), what)
	s.loosen(t, "deleted")
	delete(s.Tasks, t.ID)
}

// oldest returns the ids whose time is due, the first ones first.
func (s *spec) oldest(when func(*specTask) int64, till int64, most int) []string {
	var ids []string
	for id, t := range s.Tasks {
		if at := when(t); at != 0 && at <= till {
			ids = append(ids, id)
		}
	}
	sort.Slice(ids, func(i, j int) bool {
		a, b := when(s.Tasks[ids[i]]), when(s.Tasks[ids[j]])
		return a < b || a == b && ids[i] < ids[j]
	})
	return ids[:min(len(ids), most)]
}

// ids returns all ids that Redis knows, in order.
func (s *spec) ids() []string { return slices.Sorted(maps.Keys(s.Tasks)) }

func (s *spec) incarnation(name string) *specIncarnation {
	if i := s.Incarnations[name]; i != nil {
		return i
	}
	return &specIncarnation{}
}

func (t *specTask) String() string { return fmt.Sprintf("%s %s %q", t.ID, t.State, t.Record) }

// share is what the entry of a task in owned says of its batch.
func (t *specTask) share() string {
	batch := ""
	if t.Batch > 0 {
		batch = fmt.Sprintf("|%d", t.Batch)
	}
	if t.Place > 0 {
		return fmt.Sprintf("%s|%d", cmp.Or(batch, "|"), t.Place)
	}
	return batch
}
