package worker

import (
	"bytes"
	"context"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/internal/runner"
)

// DefaultZombieLimit is how many handlers may outlive their nodes, in one
// process, before its nodes claim no more tasks: as many as ten nodes run.
const DefaultZombieLimit = 10 * DefaultConcurrency

// Timings of zombies.
const (
	// zombieTime is for how long a handler that ignores its context keeps its task
	// from running elsewhere.
	zombieTime = 30 * time.Second
	// zombieLook is how often those that are left are counted.
	zombieLook = time.Second
)

// maxZombiesNamed and maxZombieStacks bound what is told of zombies.
const (
	maxZombiesNamed = 100
	maxZombieStacks = 16 << 10
)

// zombies are those of a process.
type zombies struct {
	limit int
	waits sync.WaitGroup // one goroutine for each node that left some

	weighing sync.Mutex // so that the last count decides

	mu     sync.Mutex
	left   map[*outlived]struct{}
	stacks string // as logged last
}

// outlived is what one ended node left behind.
type outlived struct {
	running func() []string            // what has not returned
	await   func(context.Context) bool // reports whether all has
}

// tasksOf are the handlers of a runner whose node has ended.
func tasksOf(r *runner.Runner) *outlived {
	return &outlived{running: func() []string { return r.Remains(false).Running }, await: r.Await}
}

// hookOf is a start hook whose node has ended.
func hookOf(done <-chan struct{}) *outlived {
	await := func(ctx context.Context) bool {
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return &outlived{await: await, running: func() []string {
		select {
		case <-done:
			return nil
		default:
			return []string{startHook}
		}
	}}
}

// startHook is how one is named among tasks.
const startHook = "start hook"

// Zombies returns the handlers that outlived their nodes and have not returned.
func (h *Host) Zombies() builtin.Zombies {
	h.zombies.mu.Lock()
	defer h.zombies.mu.Unlock()
	z := builtin.Zombies{Limit: h.zombies.limit}
	for o := range h.zombies.left {
		z.Tasks = append(z.Tasks, o.running()...)
	}
	slices.Sort(z.Tasks)
	z.Count = len(z.Tasks)
	z.Tasks = z.Tasks[:min(len(z.Tasks), maxZombiesNamed)]
	_, z.Choked = h.claims.reasons()
	return z
}

// weigh stops the claims at the limit, and lets them go on below it.
func (h *Host) weigh() {
	h.zombies.weighing.Lock()
	defer h.zombies.weighing.Unlock()
	z := h.Zombies()
	choked := z.Limit > 0 && z.Count >= z.Limit
	if !h.claims.change(&h.claims.choked, choked) {
		return
	}
	if choked {
		h.log.Error().Int("handlers", z.Count).Int("limit", z.Limit).Strs("tasks", z.Tasks).
			Msg("too many handlers outlived their nodes: no more tasks are claimed until some return; restart the process if they never do")
		return
	}
	h.log.Info().Int("handlers", z.Count).Msg("handlers that outlived their nodes have returned: tasks are claimed again")
}

// adopt counts what an ended node left running until it has returned. Where the
// node is condemned but for that, it also hands their tasks on then, or when their
// time is up.
func (h *Host) adopt(n *Node, left *outlived, condemned bool) {
	h.zombies.mu.Lock()
	h.zombies.left[left] = struct{}{}
	h.zombies.mu.Unlock()
	h.tellOf(n, left)
	h.weigh()
	ctx := h.patience
	h.zombies.waits.Go(func() {
		defer func() {
			h.zombies.mu.Lock()
			delete(h.zombies.left, left)
			h.zombies.mu.Unlock()
			if ctx.Err() == nil {
				h.weigh()
			}
		}()
		returned := h.awaitReturn(ctx, left, zombieTime)
		switch {
		case !condemned:
		case ctx.Err() != nil:
			h.bequeath(ctx, n)
		default:
			h.inherit(ctx, n, returned)
		}
		for !returned && ctx.Err() == nil {
			returned = h.awaitReturn(ctx, left, zombieTime)
		}
	})
}

// awaitReturn waits that long until nothing of it runs, and reports whether so it
// is. It counts again as long as it waits: one may return alone.
func (h *Host) awaitReturn(ctx context.Context, left *outlived, most time.Duration) bool {
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for waiting.Err() == nil {
		looking, looked := context.WithTimeout(waiting, zombieLook)
		returned := left.await(looking)
		looked()
		if returned {
			return true
		}
		h.weigh()
	}
	return false
}

// inherit hands on the tasks of handlers that outlived their node.
func (h *Host) inherit(ctx context.Context, n *Node, returned bool) {
	handed, _, err := h.settle(ctx, n.lease.Incarnation, queue.Remains{}, false)
	level := zerolog.InfoLevel
	if err != nil || !returned {
		level = zerolog.WarnLevel
	}
	n.log.WithLevel(level).Err(err).Int("tasks", handed.On).Bool("returned", returned).
		Msg("tasks of handlers that outlived their node handed on")
}

// bequeath leaves a node's tasks to the other processes, as this one ends: they
// need not wait longer than for a lease.
func (h *Host) bequeath(ctx context.Context, n *Node) {
	if !h.Reachable() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if _, err := h.directory.Condemn(ctx, n.lease.Incarnation, false, h.lease()); err != nil {
		n.log.Debug().Err(err).Msg("others take over later")
	}
}

// tellOf logs who outlived its node, and where the handlers of this process are,
// unless that is what the log said last.
func (h *Host) tellOf(n *Node, left *outlived) {
	stacks := handlerStacks()
	h.zombies.mu.Lock()
	known := stacks == h.zombies.stacks
	h.zombies.stacks = stacks
	h.zombies.mu.Unlock()
	event := n.log.Warn().Strs("tasks", left.running())
	if !known && stacks != "" {
		event.Str("stacks", stacks)
	}
	event.Msg("handlers outlived their node")
}

// handlerStacks shows where the task handlers and start hooks of this process
// are; those in the same place are shown once, with their number. A goroutine
// cannot be told by its task, but one that does not return is among them.
func handlerStacks() string {
	var all bytes.Buffer
	if pprof.Lookup("goroutine").WriteTo(&all, 1) != nil {
		return ""
	}
	var out strings.Builder
	for block := range strings.SplitSeq(all.String(), "\n\n") {
		if !strings.Contains(block, "worker/internal/runner.(*run).handle") && !strings.Contains(block, "worker.(*Node).startHooks.func") {
			continue
		}
		count, _, _ := strings.Cut(block, " ")
		out.WriteString(count + " goroutines at\n")
		for line := range strings.Lines(block) {
			if frame, ok := strings.CutPrefix(line, "#\t0x"); ok {
				_, frame, _ = strings.Cut(frame, "\t") // the address means nothing to a reader
				out.WriteString("\t" + strings.TrimRight(frame, "\n") + "\n")
			}
		}
		if out.Len() > maxZombieStacks {
			return out.String()[:maxZombieStacks]
		}
	}
	return out.String()
}
