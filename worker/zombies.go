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
	"github.com/stellarfw/stellar/worker/tasks"
)

// DefaultZombieLimit is how many handlers may outlive their nodes, in one
// process, before its nodes claim no more tasks: as many as ten nodes run.
const DefaultZombieLimit = 10 * DefaultConcurrency

// Timings of zombies.
const (
	// zombieTime is for how long a handler that ignores its context keeps its task
	// from running elsewhere.
	zombieTime = 30 * time.Second
	// countInterval is how often those that are left are counted.
	countInterval = time.Second
)

// maxZombiesNamed and maxZombieStacks bound what is told of zombies.
const (
	maxZombiesNamed = 100
	maxZombieStacks = 16 << 10
)

// zombies counts the handlers of a process that outlived their nodes.
type zombies struct {
	limit int
	waits sync.WaitGroup // one goroutine for each node that left some

	weighing sync.Mutex // so that the last count decides

	mu     sync.Mutex
	left   map[*leftover]struct{}
	stacks string // as logged last
}

// leftover is the handlers that one ended node left running.
type leftover struct {
	running func() []string            // what has not returned
	await   func(context.Context) bool // reports whether all has
}

// tasksOf are the handlers of a runner whose node has ended.
func tasksOf(r *runner.Runner) *leftover {
	return &leftover{running: func() []string { return r.Remains(false).Running }, await: r.Await}
}

// hookOf is a start hook whose node has ended.
func hookOf(done <-chan struct{}) *leftover {
	await := func(ctx context.Context) bool {
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return &leftover{await: await, running: func() []string {
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

// limitClaims stops the claims of the process at the limit of zombies, and lets
// them go on below it.
func (h *Host) limitClaims() {
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

// watchLeftover counts the handlers that an ended node left running until all have
// returned. Where the node is condemned, it also hands their tasks on then, or when
// zombieTime is over.
func (h *Host) watchLeftover(n *Node, left *leftover, condemned bool) {
	h.zombies.mu.Lock()
	h.zombies.left[left] = struct{}{}
	h.zombies.mu.Unlock()
	h.logLeftover(n, left)
	h.limitClaims()
	ctx := h.waiting
	h.zombies.waits.Go(func() {
		defer func() {
			h.zombies.mu.Lock()
			delete(h.zombies.left, left)
			h.zombies.mu.Unlock()
			if ctx.Err() == nil {
				h.limitClaims()
			}
		}()
		returned := h.awaitReturn(ctx, left, zombieTime)
		switch {
		case !condemned:
		case ctx.Err() != nil:
			h.condemnForOthers(ctx, n)
		default:
			h.handOverLate(ctx, n, returned)
		}
		for !returned && ctx.Err() == nil {
			returned = h.awaitReturn(ctx, left, zombieTime)
		}
	})
}

// awaitReturn waits up to most for the abandoned handlers to return and reports
// whether all did. It counts the zombies again as long as it waits, because some
// handlers may return before the others.
func (h *Host) awaitReturn(ctx context.Context, left *leftover, most time.Duration) bool {
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for waiting.Err() == nil {
		looking, looked := context.WithTimeout(waiting, countInterval)
		returned := left.await(looking)
		looked()
		if returned {
			return true
		}
		h.limitClaims()
	}
	return false
}

// handOverLate hands on the tasks of handlers that outlived their node.
func (h *Host) handOverLate(ctx context.Context, n *Node, returned bool) {
	handed, _, err := h.handOver(ctx, n.lease.Incarnation, queue.Remains{}, tasks.TakeOverOutlived)
	level := zerolog.InfoLevel
	if err != nil || !returned {
		level = zerolog.WarnLevel
	}
	n.log.WithLevel(level).Err(err).Int("tasks", handed.On).Bool("returned", returned).
		Msg("tasks of handlers that outlived their node handed on")
}

// condemnForOthers lets other processes take over the tasks of a node whose handlers
// still run when this process ends: they wait no longer than for a lease.
func (h *Host) condemnForOthers(ctx context.Context, n *Node) {
	if !h.Reachable() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if _, err := h.directory.Condemn(ctx, n.lease.Incarnation, false, h.lease()); err != nil {
		n.log.Debug().Err(err).Msg("others take over later")
	}
}

// logLeftover logs the tasks whose handlers outlived their node, and the stacks of
// the handlers of this process unless the log has the same stacks from before.
func (h *Host) logLeftover(n *Node, left *leftover) {
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
