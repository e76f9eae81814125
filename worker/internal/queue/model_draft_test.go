package queue

import (
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"
)

// Where a task of the spec is, in the words of the scripts.
const (
	statePending   state = "pending"
	stateParked    state = "parked"
	stateDelayed   state = "delayed"
	stateBlocked   state = "blocked"
	stateActive    state = "active"
	stateDone      state = "done"
	stateDead      state = "dead"
	stateCancelled state = "cancelled"
)

type state string

// draft is what a program asks for when it enqueues a task.
type draft struct {
	Name      string // default t
	Payload   any
	ID        string
	Queue     string
	Group     string
	Mark      string // of its priority
	In        time.Duration
	At        time.Time
	Unique    string
	UniqueFor time.Duration
	After     []string
	Deadline  int64 // in ms
	Meta      map[string]string
	Then      []draft
	Await     bool
	Large     bool // the payload gets a key of its own, whatever its size
}

// ready makes tasks ready to be stored, as a client does.
func (m *machine) ready(drafts ...draft) []Task {
	var all []Task
	for _, d := range drafts {
		o := Options{
			Chosen: d.ID != "", Unique: d.Unique, UniqueFor: Milliseconds(d.UniqueFor), In: Milliseconds(d.In), After: d.After,
			Meta: d.Meta, Deadline: d.Deadline,
		}
		if !d.At.IsZero() {
			o.At = d.At.UnixMilli()
		}
		id := d.ID
		if id == "" {
			id = m.ids.Next()
		}
		payload, err := json.Marshal(d.Payload)
		require.NoError(m.t, err)
		kind := NewKind(cmp.Or(d.Name, "t"), Line(d.Queue, d.Group, d.Mark), o)
		if d.Await {
			kind.Await()
		}
		task := kind.Task(id, o.String(), payload)
		if d.Large {
			task = kind.embodied(id, o.String(), body{m.names.Next(), payload})
		}
		all = append(all, task)
		for i, then := range d.Then {
			then.After, then.ID = []string{id}, id+".then."+strconv.Itoa(i+1)
			followers := m.ready(then)
			followers[0].Then = true
			all = append(all, followers...)
		}
	}
	return all
}
