package timeline

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Bounds of the stored events.
const (
	MaxEvents = 5000
	MaxAge    = 30 * 24 * time.Hour

	MaxText  = 500     // bytes of a text
	MaxStack = 4 << 10 // bytes of a stack
	maxNodes = 50      // names in one event
)

// Kind is what happened.
type Kind string

// The kinds of events.
const (
	Join       Kind = "join"       // nodes run; also after a crash or a restart
	Leave      Kind = "leave"      // nodes have stopped
	Restart    Kind = "restart"    // nodes ended to start again: on request, or because Redis was away at their start
	Crash      Kind = "crash"      // a node crashed: Text is the reason, Stack that of a panic
	LeaseLost  Kind = "lease-lost" // nodes lost their leases: they were cut off or paused, or Redis forgot them
	TakeOver   Kind = "takeover"   // an ended node's tasks went to others, within Took
	Quarantine Kind = "quarantine" // tasks are dead because too many of their runs ended with a crash
	Died       Kind = "died"       // a guardian's child died
	Flapping   Kind = "flapping"   // a set, or a guardian's children, crashed too often and ended
	Scale      Kind = "scale"
	Roll       Kind = "roll"
	Reload     Kind = "reload"
	Upgrade    Kind = "upgrade" // of the processes of a guardian
	Quiet      Kind = "quiet"
	Pause      Kind = "pause"   // of a queue, a group or a periodic task
	Resume     Kind = "resume"  // the same, or a set that was quiet
	Limit      Kind = "limit"   // of a queue
	Delete     Kind = "delete"  // of tasks, a queue or a periodic task
	Cancel     Kind = "cancel"  // of tasks
	Retry      Kind = "retry"   // of tasks
	Deploy     Kind = "deploy"  // a process of another version of its program joined
	Mark       Kind = "mark"    // a text that somebody wrote
	Redis      Kind = "redis"   // Redis was away for Took, or refused something
	Refused    Kind = "refused" // messages were dropped: Text is why
	Lost       Kind = "lost"    // events that had to be dropped, because a process had too many of them
)

// Kinds returns all kinds of events.
func Kinds() []Kind {
	return []Kind{
		Join, Leave, Restart, Crash, LeaseLost, TakeOver, Quarantine, Died, Flapping, Scale, Roll, Reload, Upgrade, Quiet, Pause, Resume,
		Limit, Delete, Cancel, Retry, Deploy, Mark, Redis, Refused, Lost,
	}
}

// Event is something that happened, or several events of a kind that one process saw.
type Event struct {
	// ID is the event's place in the timeline: greater than the ids of those that were written
	// before. Times are on Redis's clock, as well as the process could tell.
	ID string    `json:"id"`
	At time.Time `json:"at"`
	// Until is when the last of Count events happened, zero for one event.
	Until time.Time `json:"until,omitzero"`
	Count int       `json:"count"` // at least 1

	Kind Kind   `json:"kind"`
	Text string `json:"text,omitempty"` // at most [MaxText] bytes
	// Nodes are the ids of the nodes that it is about, at most 50.
	Nodes []string `json:"nodes,omitempty"`
	Queue string   `json:"queue,omitempty"`
	// Tasks is how many tasks it is about; of a take-over, how many went back to their queues.
	Tasks       int    `json:"tasks,omitempty"`
	Quarantined int    `json:"quarantined,omitempty"` // of a take-over
	Took        int64  `json:"tookMs,omitempty"`      // milliseconds; of several events the longest
	Stack       string `json:"stack,omitempty"`       // of the first crash for a reason

	// By is who asked for it; empty: nobody, or the process itself.
	By      string  `json:"by,omitempty"`
	Process Process `json:"process,omitzero"`
}

// Process is the process that wrote an event.
type Process struct {
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
	Version string `json:"version,omitempty"`
}

// stored is an [Event] as its entry in the stream has it: its times are in fields of their own.
type stored struct {
	Event

	ID    struct{} `json:"id,omitzero"`
	At    struct{} `json:"at,omitzero"`
	Until struct{} `json:"until,omitzero"`
	// Lasted is from At to Until, in milliseconds.
	Lasted int64 `json:"lasted,omitempty"`
}

// bounded returns the event with its texts cut to their bounds.
func (e Event) bounded() Event {
	e.Text, e.Stack, e.By = cut(e.Text, MaxText), cut(e.Stack, MaxStack), cut(e.By, MaxText)
	e.Nodes, e.Count = e.Nodes[:min(len(e.Nodes), maxNodes)], max(e.Count, 1)
	return e
}

// encode returns the JSON of an event that lasted from At on.
func (e Event) encode(lasted time.Duration) (string, error) {
	text, err := json.Marshal(stored{Event: e, Lasted: lasted.Milliseconds()})
	return string(text), err
}

// parse returns the event of an entry, and false for an entry that is not ours.
func parse(id string, fields map[string]any) (Event, bool) {
	text, _ := fields["e"].(string)
	at, _ := fields["at"].(string)
	ms, err := strconv.ParseInt(at, 10, 64)
	var s stored
	if err != nil || json.Unmarshal([]byte(text), &s) != nil || s.Kind == "" {
		return Event{}, false
	}
	e := s.Event
	e.ID, e.At, e.Count = id, time.UnixMilli(ms), max(e.Count, 1)
	if s.Lasted > 0 {
		e.Until = e.At.Add(time.Duration(min(s.Lasted, MaxAge.Milliseconds())) * time.Millisecond)
	}
	if was, ok := fields["was"].(string); ok && e.Kind == Deploy {
		e.Text = e.Process.Program + " " + e.Process.Version + ", after " + was
	}
	return e, true
}

// cut returns the first n bytes of a text, with "…" appended if the text was longer.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}
