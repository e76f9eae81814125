package tasks

import (
	"context"
	"encoding/json"
)

// Change is what an operator has changed with an [Inspector], such as that a queue is paused. Changes
// of single tasks are not among them.
type Change struct {
	Kind  ChangeKind
	Queue string // empty: of a periodic task, or of tasks of several queues
	Text  string // the group, the periodic task, the limits, or the filter that selected the tasks
	Tasks int    // how many were changed
}

// ChangeKind is what was done.
type ChangeKind string

// The kinds of a [Change].
const (
	ChangePause  ChangeKind = "pause"
	ChangeResume ChangeKind = "resume"
	ChangeLimit  ChangeKind = "limit"  // of the limits or the defaults of a queue
	ChangeDelete ChangeKind = "delete" // of tasks, a queue or a periodic task
	ChangeCancel ChangeKind = "cancel" // of tasks
	ChangeRetry  ChangeKind = "retry"  // of tasks
)

// OnChange sets the function that is called after each change, with the context of the
// inspector's method. Call it before the inspector's first use.
func (i *Inspector) OnChange(f func(context.Context, Change)) { i.onChange = f }

func (i *Inspector) changed(ctx context.Context, c Change) {
	if i.onChange != nil {
		i.onChange(ctx, c)
	}
}

// asText returns what was set, as JSON.
func asText(what string, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return what
	}
	return what + " " + string(text)
}
