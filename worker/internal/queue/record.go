package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Record is a task as Redis stores it from its enqueue to its end:
//
//	name|line|enqueued|options\npayload
//
// enqueued is Redis's clock in milliseconds, in base 16, set by the script, or by the producer of a
// large call as of when it sent the task. options
// is empty or JSON. The payload is the bytes that came in; nothing re-encodes them. A large
// payload has a key of its own: then @, its name, |, and how many bytes it has are there instead.
//
// When the task is done and kept, enqueued+kept+ended+node is there instead of enqueued, the times
// in the same form; see lua/retaining.lua.
type Record struct {
	Name     string
	Line     string // see Line
	Enqueued time.Time
	Options  Options
	Payload  json.RawMessage
	Body     BodyRef // of a payload that is not in the record

	// Of a task that is done and kept:

	Kept, Ended time.Time
	Node        string // the incarnation without its random part
}

// Marks of a priority at the end of a line's name; names of queues cannot hold them.
const (
	HighMark = "^"
	LowMark  = "~"
)

// Lines returns the three lines of a queue, the most urgent first.
func Lines(queue string) []string { return []string{queue + HighMark, queue, queue + LowMark} }

// Options are the options of one task that differ from its definition's, as a
// record holds them. The scripts read Deadline, Tick, Unique, UniqueFor, In, At and After.
type Options struct {
	MaxAttempts int   `json:"a,omitempty"`
	Timeout     int64 `json:"t,omitempty"` // this and all other times are milliseconds
	Retention   int64 `json:"r,omitempty"`
	Backoff     int64 `json:"b,omitempty"`
	MaxBackoff  int64 `json:"B,omitempty"`
	Deadline    int64 `json:"d,omitempty"` // on Redis's clock
	Chosen      bool  `json:"c,omitempty"` // the caller chose the id
	Tick        int64 `json:"T,omitempty"` // of the periodic task that this is a run of, on Redis's clock

	Meta map[string]string `json:"m,omitempty"`

	Unique    string   `json:"u,omitempty"`
	UniqueFor int64    `json:"v,omitempty"`
	In        int64    `json:"w,omitempty"` // delay after the enqueue, or after the last task of After is done
	At        int64    `json:"W,omitempty"` // due time, on Redis's clock
	After     []string `json:"f,omitempty"`

	Death *Death `json:"D,omitempty"` // of the task of a hook
}

// Death says which task was dead and why, in the options of its hook's task. lua/burying.lua
// writes it.
type Death struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`
	Queue  string          `json:"queue"`
	Tries  string          `json:"tries"` // see [ParseTries]
	At     int64           `json:"at"`    // on Redis's clock, in milliseconds
	Reason json.RawMessage `json:"reason"`
}

// head returns the part of a record before the time, tail the part after the time.
func (r Record) head() string { return r.Name + "|" + r.Line + "|" }

func (r Record) tail() string {
	if r.Body.Name != "" {
		return r.Options.String() + refMark + r.Body.String()
	}
	return r.Options.String() + string(r.Payload)
}

// NoOptions is [Options.String] of the zero value.
const NoOptions = "|\n"

// String returns the part of a record between the time and the payload.
func (o Options) String() string {
	b, _ := json.Marshal(o) // numbers, texts and a bool: it cannot fail
	if string(b) == "{}" {
		return NoOptions
	}
	return "|" + string(b) + "\n"
}

// Queue returns the name of the task's queue.
func (r Record) Queue() string { return queueOf(r.Line) }

// Group returns the task's group, or "".
func (r Record) Group() string { return groupOf(r.Line) }

// queueOf returns the queue of a line. It removes at most one mark.
func queueOf(line string) string {
	if q, _, grouped := strings.Cut(line, groupMark); grouped {
		return q
	}
	if q, marked := strings.CutSuffix(line, HighMark); marked {
		return q
	}
	return strings.TrimSuffix(line, LowMark)
}

// Waited returns for how long the task has been due at now, a time on Redis's clock; 0 if
// it is not due yet.
func (r Record) Waited(now time.Time) time.Duration {
	due := r.Enqueued.Add(Duration(r.Options.In))
	if at := TimeOf(r.Options.At); at.After(due) {
		due = at
	}
	return max(now.Sub(due), 0)
}

// ParseRecord parses a stored record. With the error for a malformed record it returns
// the fields that could be read.
func ParseRecord(s string) (Record, error) {
	head, payload, ok := strings.Cut(s, "\n")
	f := strings.SplitN(head, "|", 4)
	r := Record{Name: f[0]}
	if len(f) > 2 {
		r.Line = f[1]
	}
	if !ok || len(f) != 4 {
		return r, fmt.Errorf("malformed record %.80q", s)
	}
	r, err := r.withTimes(f[2])
	if err != nil {
		return r, fmt.Errorf("malformed record %.80q", s)
	}
	if ref, is := parseRef(payload); is {
		r.Body = ref
	} else {
		r.Payload = json.RawMessage(payload)
	}
	if f[3] != "" {
		if err := json.Unmarshal([]byte(f[3]), &r.Options); err != nil {
			return r, fmt.Errorf("malformed record %.80q: %w", s, err)
		}
	}
	return r, nil
}

// withTimes returns the record with what its third field says.
func (r Record) withTimes(s string) (Record, error) {
	f := strings.SplitN(s, "+", 4)
	var enqueued, kept, ended error
	r.Enqueued, enqueued = parseTime(f[0])
	switch len(f) {
	case 1:
	case 4:
		r.Kept, kept = parseTime(f[1])
		r.Ended, ended = parseTime(f[2])
		r.Node = f[3]
	default:
		kept = strconv.ErrSyntax
	}
	return r, errors.Join(enqueued, kept, ended)
}

// parseTime parses a time in a record.
func parseTime(s string) (time.Time, error) {
	base := 16
	if len(s) < 9 { // of layout 1: times since 2004 have eleven digits in base 16, and eight in base 36
		base = 36
	}
	ms, err := strconv.ParseInt(s, base, 64)
	return TimeOf(ms), err
}

// Tries counts the failed runs of a task.
type Tries struct {
	Attempts int // runs that the handler failed
	Crashes  int // runs that ended with their node
}

// String returns the counts as Redis holds them: attempts|crashes.
func (t Tries) String() string { return strconv.Itoa(t.Attempts) + "|" + strconv.Itoa(t.Crashes) }

// ParseTries parses the text of [Tries.String]; a count that cannot be read is 0.
func ParseTries(s string) Tries {
	a, c, _ := strings.Cut(s, "|")
	var t Tries
	t.Attempts, _ = strconv.Atoi(a)
	t.Crashes, _ = strconv.Atoi(c)
	return t
}
