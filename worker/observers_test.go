package worker_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestObserversTellEachOfEverything(t *testing.T) {
	panics := struct{ worker.Observer }{} // whatever it is told of
	for m := range reflect.TypeFor[worker.Observer]().Methods() {
		call := func(o worker.Observer) func() {
			var args []reflect.Value
			for in := range m.Type.Ins() {
				args = append(args, reflect.Zero(in))
			}
			return func() { reflect.ValueOf(o).MethodByName(m.Name).Call(args) }
		}
		require.NotPanics(t, call(worker.Observers(worker.Unobserved{}, worker.Unobserved{})), m.Name)
		require.Panics(t, call(worker.Observers(panics, worker.Unobserved{})), m.Name)
		require.Panics(t, call(worker.Observers(worker.Unobserved{}, panics)), m.Name)
	}
}

// takeOvers observes take-overs and runs.
type takeOvers struct {
	worker.Unobserved
	takes chan tasks.TakeOver
	runs  chan tasks.RunEnd
}

func (o *takeOvers) TookOver(take tasks.TakeOver) { o.takes <- take }

func (o *takeOvers) RunEnded(end tasks.RunEnd) { o.runs <- end }

func TestAnObserverHearsOfTakeOversAndWhy(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		app, started := worker.NewApp(), make(chan struct{}, 10)
		tasks.Handle(app, tasks.Definition{Name: "blocks"}, func(ctx context.Context, _ any) error {
			started <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		observer := &takeOvers{takes: make(chan tasks.TakeOver, 100), runs: make(chan tasks.RunEnd, 100)}
		set := supervisortest.StartWith(t, app, supervisor.Config{
			Workers: 1, Redis: at, Observer: observer, Times: membership.Times{Lease: 2 * time.Second}, Backoff: time.Millisecond,
		})
		node := set.Nodes()[0]
		api := node.API()
		receipt, err := api.Tasks.Enqueue(ctx, "blocks", nil)
		require.NoError(t, err)
		<-started
		node.Crash("test")
		require.Equal(t, tasks.RunAbandoned, (<-observer.runs).Outcome)
		take := <-observer.takes
		require.Equal(t, []any{tasks.TakeOverCrash, 1, api.Incarnation.String()}, []any{take.Why, take.HandedOn, take.Node})
		<-started
		client := connect(t, worker.ClientConfig{Redis: at})
		_, err = client.Inspector.Cancel(ctx, receipt.ID, "test")
		require.NoError(t, err)
		require.Equal(t, tasks.RunCancelled, (<-observer.runs).Outcome)

		// Another process dies with a task that it has claimed.
		redis, keys := redistest.Client(t, at), at.Keys()
		keeper := membership.NewKeeper(membership.Directory{Client: redis, Keys: keys}, membership.Times{Lease: time.Second}, zerolog.Nop())
		lease, err := keeper.Join(ctx, membership.JoinRequest{Prefix: "dead"})
		require.NoError(t, err)
		_, err = client.Tasks.EnqueueWith(ctx, "n", nil, tasks.Options{Queue: "doomed", AnyName: true})
		require.NoError(t, err)
		_, _, err = queue.NewSession(queue.SessionConfig{
			Redis: redis, Keys: keys, Incarnation: lease.Incarnation.String(), Queues: []string{"doomed"}, Cache: client.Cache,
		}).Claim(ctx, queue.Ask{Want: 1})
		require.NoError(t, err)
		take = <-observer.takes
		require.Equal(t, []any{tasks.TakeOverLease, 1, lease.Incarnation.String()}, []any{take.Why, take.HandedOn, take.Node})
	})
}
