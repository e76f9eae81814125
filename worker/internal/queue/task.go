package queue

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Task is a task that is ready to be stored.
type Task struct {
	*Kind

	ID string
	// Then: the task is stored together with the previous task of its call, or not at all.
	Then bool
	tail string // see Record.tail
	body body
}

// Kind is the data that tasks share if they differ only in their ids, payloads, and the
// options that no script reads before the task is claimed.
type Kind struct {
	name, line, when, head string
	unique, lasting, after string
	deadline               string
	chosen, awaited        bool
}

// NewKind returns the kind of a task with that name, in that line.
func NewKind(name, line string, o Options) *Kind {
	k := &Kind{
		name: name, line: line, when: o.when(), head: Record{Name: name, Line: line}.head(),
		unique: o.Unique, after: strings.Join(o.After, " "), chosen: o.Chosen,
	}
	if o.UniqueFor > 0 {
		k.lasting = strconv.FormatInt(o.UniqueFor, 10)
	}
	k.deadline = o.deadline()
	return k
}

// Await has the ends of the kind's tasks announced on [link.Keys.Ended], and remembered for
// a minute, as [Store.Ending] does with listen. If a task is not stored because another has
// its id or unique key, this goes for the other.
func (k *Kind) Await() { k.awaited = true }

// Task returns a task of the kind; options are [Options.String] of its options. A large payload
// gets a key of its own.
func (k *Kind) Task(id, options string, payload []byte) Task {
	if len(payload) < largePayload {
		return k.whole(id, options, payload)
	}
	return k.embodied(id, options, body{newProducer() + newProducer(), bytes.Clone(payload)})
}

// embodied returns a task whose payload has a key of its own.
func (k *Kind) embodied(id, options string, b body) Task {
	return Task{Kind: k, ID: id, tail: options + refMark + b.ref().String(), body: b}
}

// whole returns a task whose record has its payload.
func (k *Kind) whole(id, options string, payload []byte) Task {
	var tail strings.Builder // in one allocation
	tail.Grow(len(options) + len(payload))
	tail.WriteString(options)
	tail.Write(payload)
	return Task{Kind: k, ID: id, tail: tail.String()}
}

// Name returns the name of the task.
func (k *Kind) Name() string { return k.name }

// Queue returns the name of the task's queue.
func (k *Kind) Queue() string { return queueOf(k.line) }

// Chosen reports whether the task's id is the caller's choice.
func (k *Kind) Chosen() bool { return k.chosen }

// Is reports whether the kind has that name and line; a task without options is then of
// this kind.
func (k *Kind) Is(name, line string) bool { return k.name == name && k.line == line }

// when returns the due time as the scripts read it: + and a delay, or @ and a time, in
// milliseconds; empty for now.
func (o Options) when() string {
	switch {
	case o.In > 0:
		return "+" + strconv.FormatInt(o.In, 10)
	case o.At != 0:
		return "@" + strconv.FormatInt(o.At, 10)
	default:
		return ""
	}
}

// deadline returns the deadline as the scripts read it: milliseconds, empty for none.
func (o Options) deadline() string {
	if o.Deadline == 0 {
		return ""
	}
	return strconv.FormatInt(o.Deadline, 10)
}

// scriptFor returns the script that can store all tasks of a batch.
func scriptFor(batch []*submission) *link.Script {
	for _, s := range batch {
		if slices.ContainsFunc(s.tasks, func(t Task) bool { return t.binds() || t.grouped() }) {
			return enqueueBinding
		}
	}
	return enqueueScript
}

// grouped reports whether the task has a group.
func (k *Kind) grouped() bool { return strings.Contains(k.line, groupMark) }

// binds reports whether the task has a unique key or follows others.
func (t Task) binds() bool { return t.unique != "" || t.after != "" }

// alike reports whether two tasks can go in one group of add() in adding.lua.
func (t Task) alike(o Task) bool {
	return (t.Kind == o.Kind || *t.Kind == *o.Kind) && !t.binds() && t.body.name == "" && o.body.name == ""
}

// group returns the arguments that begin a group of n tasks like this one, as adding.lua
// reads them. The id and tail of each task follow.
func (t Task) group(n int) []any {
	marks := ""
	if t.chosen {
		marks = "c"
	}
	if t.awaited {
		marks += "w"
	}
	if t.grouped() {
		marks += "g"
	}
	if t.body.name != "" {
		marks += refMark + t.body.ref().String()
	}
	return []any{t.line, marks, t.when, t.head, t.unique, t.lasting, t.after, t.deadline, n}
}

// whole returns the task with its payload in the record.
func (t Task) whole() Task {
	if t.body.name != "" {
		t.tail = strings.TrimSuffix(t.tail, refMark+t.body.ref().String()) + string(t.body.payload)
		t.body = body{}
	}
	return t
}

// size returns how many bytes of the task are sent, more or less.
func (t Task) size() int { return len(t.tail) + len(t.body.payload) }

// alone returns a group of this task alone.
func (t Task) alone() []any { return append(t.group(1), t.ID, t.tail) }

// appendGroups appends a batch to args, in groups of successive tasks that are alike.
func appendGroups(args []any, batch []*submission) []any {
	var last Task
	count, countAt := 0, -1
	for _, s := range batch {
		args = slices.Grow(args, 2*len(s.tasks))
		for _, t := range s.tasks {
			if countAt < 0 || !t.alike(last) {
				args = append(args, t.group(0)...)
				countAt, count = len(args)-1, 0
				last = t
			}
			count++
			args[countAt] = count
			args = append(args, t.ID, t.tail)
		}
	}
	return args
}

// bodiesOf returns the bodies of a batch.
func bodiesOf(batch []*submission) (all []body) {
	for _, s := range batch {
		for _, t := range s.tasks {
			if t.body.name != "" {
				all = append(all, t.body)
			}
		}
	}
	return all
}
