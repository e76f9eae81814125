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
//	name|queue|enqueued|options\npayload
//
// enqueued is Redis's clock in milliseconds, in base 36, set by the script. options is empty
// or JSON. The payload is the bytes that came in; nothing re-encodes them.
type record struct {
	name     string
	queue    string
	enqueued time.Time
	options  recordOptions
	payload  json.RawMessage
}

// recordOptions are the options of one task that differ from its definition's.
type recordOptions struct {
	MaxAttempts int   `json:"a,omitempty"`
	Timeout     int64 `json:"t,omitempty"` // milliseconds
	Retention   int64 `json:"r,omitempty"` // milliseconds
	Chosen      bool  `json:"c,omitempty"` // its id was the caller's choice
}

// head is what stands before the time in a record, tail what stands after it.
func (r record) head() string { return r.name + "|" + r.queue + "|" }

func (r record) tail() string {
	options := ""
	if r.options != (recordOptions{}) {
		b, _ := json.Marshal(r.options) // numbers and a bool: it cannot fail
		options = string(b)
	}
	return "|" + options + "\n" + string(r.payload)
}

func parseRecord(s string) (record, error) {
	head, payload, ok := strings.Cut(s, "\n")
	f := strings.SplitN(head, "|", 4)
	if !ok || len(f) != 4 {
		return record{}, fmt.Errorf("malformed record %.80q", s)
	}
	ms, err := strconv.ParseInt(f[2], 36, 64)
	if err != nil {
		return record{}, fmt.Errorf("malformed record %.80q", s)
	}
	r := record{name: f[0], queue: f[1], enqueued: time.UnixMilli(ms), payload: json.RawMessage(payload)}
	if f[3] != "" {
		if err := json.Unmarshal([]byte(f[3]), &r.options); err != nil {
			return record{}, fmt.Errorf("malformed record %.80q: %w", s, err)
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
