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

// DefaultZombieLimit is the default of [HostConfig].ZombieLimit: as many handlers as ten
// nodes run.
const DefaultZombieLimit = 10 * DefaultConcurrency

// Timings of zombies: handlers that have not returned although their node has ended.
const (
	// zombieTime is for how long the task of a zombie is not run elsewhere.
	zombieTime = 30 * time.Second
	// countInterval is how often the zombies are counted while any is left.
	countInterval = time.Second
)

// maxZombiesNamed is how many zombies a status names; maxZombieStacks is how many bytes of
// their stacks are logged.
const (
	maxZombiesNamed = 100
	maxZombieStacks = 16 << 10
)

// zombies counts the handlers of a process that outlived their nodes.
type zombies struct {
	limit int
	waits sync.WaitGroup // one goroutine for each node with zombies

	limiting sync.Mutex // orders limitClaims, so that the last count decides

	mu     sync.Mutex
	left   map[*abandoned]struct{}
	stacks string // the stacks that were logged last
}

// abandoned has the handlers or start hooks of one ended node that had not returned.
type abandoned struct {
	running func() []string            // ids of the tasks that have not returned, or "start hook"
	await   func(context.Context) bool // waits until ctx ends and reports whether all have returned
}

// tasksOf returns the handlers of a runner whose node has ended.
func tasksOf(r *runner.Runner) *abandoned {
	return &abandoned{running: func() []string { return r.Remains(false).Running }, await: r.Await}
}

// hookOf returns the start hooks of an ended node; done is closed when they have returned.
func hookOf(done <-chan struct{}) *abandoned {
	await := func(ctx context.Context) bool {
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return &abandoned{await: await, running: func() []string {
		select {
		case <-done:
			return nil
		default:
			return []string{startHook}
		}
	}}
}

// startHook names the start hooks among task ids.
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

// limitClaims pauses claiming in this process when there are as many zombies as the limit
// allows, and resumes it when there are fewer.
func (h *Host) limitClaims() {
	h.zombies.limiting.Lock()
	defer h.zombies.limiting.Unlock()
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

// watchAbandoned counts the abandoned handlers of an ended node until all have returned. If
// the node is condemned, it also hands their tasks over when all have returned, or at the
// latest after zombieTime.
func (h *Host) watchAbandoned(n *Node, left *abandoned, condemned bool) {
	h.zombies.mu.Lock()
	h.zombies.left[left] = struct{}{}
	h.zombies.mu.Unlock()
	h.logAbandoned(n, left)
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
func (h *Host) awaitReturn(ctx context.Context, left *abandoned, most time.Duration) bool {
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

// handOverLate hands over the tasks of handlers that outlived their node; returned says
// whether the handlers have returned by now.
func (h *Host) handOverLate(ctx context.Context, n *Node, returned bool) {
	handed, _, err := h.settler.handOver(ctx, n.lease.Incarnation, queue.Remains{}, tasks.TakeOverOutlived)
	level := zerolog.InfoLevel
	if err != nil || !returned {
		level = zerolog.WarnLevel
	}
	n.log.WithLevel(level).Err(err).Int("handedOn", handed.On).Bool("returned", returned).
		Msg("handed over the tasks of handlers that outlived their node")
}

// condemnForOthers lets other processes take over the tasks of a node whose handlers still
// run when this process ends. It reserves the hand-over for no longer than a lease.
func (h *Host) condemnForOthers(ctx context.Context, n *Node) {
	if !h.Reachable() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if _, err := h.directory.Condemn(ctx, n.lease.Incarnation, false, h.lease()); err != nil {
		n.log.Debug().Err(err).Msg("other processes take over the tasks of abandoned handlers later")
	}
}

// logAbandoned logs the tasks whose handlers outlived their node, and the stacks of
// the handlers of this process unless the log has the same stacks from before.
func (h *Host) logAbandoned(n *Node, left *abandoned) {
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

// handlerStacks returns the stacks of all task handlers and start hooks of this process;
// equal stacks are listed once, with their number. Go does not say which goroutine runs
// which task, but the abandoned handlers are among them.
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
