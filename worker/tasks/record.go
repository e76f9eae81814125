package tasks

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A record is what Redis keeps of a task from its enqueue to its end:
//
//	name|line|enqueued|options\npayload
//
// line is its queue, with the mark of its priority. enqueued is Redis's clock in
// milliseconds, in base 36, set by the script. options is empty or JSON. The
// payload is the bytes that came in; nothing re-encodes them.
type record struct {
	name     string
	line     string
	enqueued time.Time
	options  recordOptions
	payload  json.RawMessage
}

// recordOptions are the options of one task that differ from its definition's.
// The scripts read U, V, W and After.
type recordOptions struct {
	MaxAttempts int   `json:"a,omitempty"`
	Timeout     int64 `json:"t,omitempty"` // this and all other times are milliseconds
	Retention   int64 `json:"r,omitempty"`
	Backoff     int64 `json:"b,omitempty"`
	MaxBackoff  int64 `json:"B,omitempty"`
	Deadline    int64 `json:"d,omitempty"` // on Redis's clock
	Chosen      bool  `json:"c,omitempty"` // its id was the caller's choice

	Unique    string   `json:"u,omitempty"`
	UniqueFor int64    `json:"v,omitempty"`
	In        int64    `json:"w,omitempty"` // after its enqueue, or after the last of After is done
	At        int64    `json:"W,omitempty"` // on Redis's clock
	After     []string `json:"f,omitempty"`
}

// head is what stands before the time in a record, tail what stands after it.
func (r record) head() string { return r.name + "|" + r.line + "|" }

func (r record) tail() string { return r.options.String() + string(r.payload) }

// noOptions is [recordOptions.String] of none.
const noOptions = "|\n"

// String is how a record holds them, between the time and the payload.
func (o recordOptions) String() string {
	b, _ := json.Marshal(o) // numbers, strings and a bool: it cannot fail
	if string(b) == "{}" {
		return noOptions
	}
	return "|" + string(b) + "\n"
}

// queue is the queue without the mark of the task's priority, of which there is one.
func (r record) queue() string {
	if q, marked := strings.CutSuffix(r.line, highMark); marked {
		return q
	}
	return strings.TrimSuffix(r.line, lowMark)
}

// waited is how long the task waited until now, on Redis's clock, since it could
// have run.
func (r record) waited(now time.Time) time.Duration {
	due := r.enqueued.Add(time.Duration(r.options.In) * time.Millisecond)
	if at := time.UnixMilli(r.options.At); at.After(due) {
		due = at
	}
	return max(now.Sub(due), 0)
}

// parseRecord returns as much of a record as can be read.
func parseRecord(s string) (record, error) {
	head, payload, ok := strings.Cut(s, "\n")
	f := strings.SplitN(head, "|", 4)
	r := record{name: f[0]}
	if len(f) > 2 {
		r.line = f[1]
	}
	if !ok || len(f) != 4 {
		return r, fmt.Errorf("malformed record %.80q", s)
	}
	ms, err := strconv.ParseInt(f[2], 36, 64)
	if err != nil {
		return r, fmt.Errorf("malformed record %.80q", s)
	}
	r.enqueued, r.payload = time.UnixMilli(ms), json.RawMessage(payload)
	if f[3] != "" {
		if err := json.Unmarshal([]byte(f[3]), &r.options); err != nil {
			return r, fmt.Errorf("malformed record %.80q: %w", s, err)
		}
	}
	return r, nil
}

// tries counts what went wrong with a task. An attempt is a run that its handler
// failed; a crash is a run that ended with its node.
type tries struct{ attempts, crashes int }

func (t tries) String() string { return strconv.Itoa(t.attempts) + "|" + strconv.Itoa(t.crashes) }

func parseTries(s string) tries {
	a, c, _ := strings.Cut(s, "|")
	var t tries
	t.attempts, _ = strconv.Atoi(a)
	t.crashes, _ = strconv.Atoi(c)
	return t
}
