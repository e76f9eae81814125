package worker

import (
	"context"
	"errors"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// blameless reports whether the tasks in hand cannot have caused the node's end.
func blameless(err error) bool {
	return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrInjected) ||
		errors.Is(err, membership.ErrLeaseLost) || errors.Is(err, queue.ErrFenced) ||
		errors.Is(err, queue.ErrRolledBack) || link.OutcomeOf(err) == link.DidNotRun
}

// crashGrace is how long the handlers of a crashed node may take to return. After that time
// the tasks in hand are handed over, except for those whose handlers still run.
const crashGrace = 100 * time.Millisecond

// answerGrace is how long a node that ends gracefully waits for the answers to calls before its
// leave is announced, which ends the calls that wait for it: of api.stop, for example.
const answerGrace = 100 * time.Millisecond

func (n *Node) awaitAnswers(cause error) {
	if n.api == nil || !errors.Is(cause, context.Canceled) {
		return
	}
	t := time.NewTimer(answerGrace)
	defer t.Stop()
	select {
	case <-n.answered:
	case <-t.C:
	}
}

// handOver hands over everything that the node owns. While Redis is away it waits, but in a
// stopping process only for the grace time: then others take over when the lease has run
// out.
func (n *Node) handOver(ctx context.Context, cause error) {
	life := n.lease.Incarnation
	n.lease.Release()
	settling, cancel := n.host.settling(ctx, max(n.cfg.Grace, time.Second))
	defer cancel()
	remains := queue.Remains{}
	runner := n.taskRunner()
	if runner != nil {
		waiting, cancel := context.WithTimeout(settling, crashGrace)
		runner.Await(waiting)
		cancel()
		remains = runner.Remains(!blameless(cause))
	}
	why := tasks.TakeOverCrash
	if cause == nil || errors.Is(cause, context.Canceled) {
		why = tasks.TakeOverStop
	}
	var handed queue.Handed
	done, err := n.host.endings.take(settling)
	if err == nil {
		handed, _, err = n.host.settler.handOver(settling, life, remains, why)
	}
	done()
	if err == nil {
		n.host.leaves.await()
	}
	if err != nil {
		n.log.Warn().Err(err).Msg("the node's tasks and locks were not handed over: " +
			"if another process is left on this Redis, it takes over when the node's lease has run out")
	}
	n.mu.Lock()
	n.ended.Unsettled = err != nil
	n.ended.HandedOn, n.ended.Quarantined = handed.On, handed.Quarantined
	n.ended.Running = append(n.ended.Running, remains.Running...)
	if runner != nil {
		n.ended.Started, n.ended.Done = runner.Counts()
	}
	n.mu.Unlock()
	if handed.On+handed.Quarantined > 0 {
		n.log.Info().Int("handedOn", handed.On).Int("quarantined", handed.Quarantined).
			Func(naming(handed)).Msg("tasks in hand went back to their queues")
	}
	if len(remains.Running) > 0 {
		n.host.watchAbandoned(n, tasksOf(runner), err == nil)
	}
}

func (n *Node) close() {
	if runner := n.taskRunner(); runner != nil {
		n.host.claims.remove(runner)
	}
	if n.api != nil {
		n.host.endpoints.remove(n.api.RPC)
		n.api.Tasks.Close()
		n.api.Cache.Close()
		n.api.Bus.Close()
	}
	if n.conns != nil {
		_ = n.conns.Close()
	}
}
