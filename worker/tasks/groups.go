package tasks

import (
	"slices"

	"github.com/stellarfw/stellar/redisbus/link"
)

// scriptFor returns the script that can store all tasks of a batch.
func scriptFor(batch []*submission) *link.Script {
	for _, s := range batch {
		if slices.ContainsFunc(s.tasks, prepared.binds) {
			return enqueueBinding
		}
	}
	return enqueueScript
}

// binds reports whether the task has a unique key or follows others.
func (p prepared) binds() bool { return p.unique != "" || p.after != "" }

// alike reports whether two tasks can go in one group of add() in adding.lua.
func (p prepared) alike(o prepared) bool {
	return (p.kind == o.kind || *p.kind == *o.kind) && !p.binds()
}

// group are the words that a group of tasks like this one begins with, as
// adding.lua reads them, up to how many.
func (p prepared) group(n int) []any {
	chosen := ""
	if p.chosen {
		chosen = "1"
	}
	return []any{p.line, chosen, p.when, p.head, p.unique, p.lasting, p.after, n}
}

// appendGroups writes a batch in groups of tasks that are alike and follow each other.
func appendGroups(args []any, batch []*submission) []any {
	var last prepared
	count, countAt := 0, -1
	for _, s := range batch {
		args = slices.Grow(args, 2*len(s.tasks))
		for _, p := range s.tasks {
			if countAt < 0 || !p.alike(last) {
				args = append(args, p.group(0)...)
				countAt, count = len(args)-1, 0
				last = p
			}
			count++
			args[countAt] = count
			args = append(args, p.id, p.tail)
		}
	}
	return args
}
