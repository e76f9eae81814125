package supervisor

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/worker/builtin"
)

// Bounds of a set's memory of crashes: a status with them has to fit into a message.
const (
	maxRemembered = 1000     // nodes
	maxReason     = 500      // bytes of a reason
	maxStack      = 8 << 10  // bytes of a stack
	maxStacks     = 64 << 10 // bytes of all stacks in one status
)

// history has the crashes of each node since the set began, by the node's id.
type history map[string]*remembered

type remembered struct {
	builtin.Crashes
	times map[string]int // number of crashes by reason
}

// remember records a crash and returns how often that node has crashed for that reason.
func (s *Set) remember(node string, err error, stack string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.history[node]
	if h == nil {
		if len(s.history) >= maxRemembered {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(s.history)), func(a, b string) int {
				return s.history[a].At.Compare(s.history[b].At)
			})
			delete(s.history, oldest)
		}
		h = &remembered{times: map[string]int{}}
		s.history[node] = h
	}
	reason := cut(err.Error(), maxReason)
	h.Count++
	h.Reason, h.At = reason, time.Now()
	if stack != "" {
		h.Stack = cut(stack, maxStack)
	}
	if len(h.times) >= maxRemembered/10 {
		clear(h.times) // the reasons differ every time: bound the memory
	}
	h.times[reason]++
	return h.times[reason]
}

// list returns the crashes, the latest first, as many as fit into a status.
func (h history) list() []builtin.NodeCrashes {
	all := make([]builtin.NodeCrashes, 0, len(h))
	for node, c := range h {
		all = append(all, builtin.NodeCrashes{Node: node, Crashes: c.Crashes})
	}
	slices.SortFunc(all, func(a, b builtin.NodeCrashes) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Node, b.Node)) })
	all = all[:min(len(all), builtin.MaxCrashed)]
	room := maxStacks
	for i := range all {
		if room -= len(all[i].Stack); room < 0 {
			all[i].Stack = ""
		}
	}
	return all
}

// cut returns the first n bytes of a text, with "…" appended if the text was longer.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}
