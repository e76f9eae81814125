package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/group"
	"github.com/stellarfw/stellar/worker/internal/runner"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// live runs a node from the join to the end of its drain. why is ErrStop or ErrRestart if a
// call of [Node.Stop] ended the life. The goroutines of the base storey run in the group
// base, until live stops them at its end.
func (n *Node) live(ctx context.Context, base *group.Group) (why, err error) {
	if err := n.openBase(base); err != nil {
		return nil, err
	}
	n.openWork()
	n.host.noticeOthers(base.Context())
	stopping, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	base.Go("loop", func(ctx context.Context) error { return n.loop(ctx, stop) })
	base.Go("bus", n.tolerant(n.api.Bus.Serve))
	base.Go("rpc", func(ctx context.Context) error {
		defer close(n.answered)
		return n.tolerant(n.api.RPC.Serve)(ctx)
	})
	if len(n.host.cfg.Cache.Near.Prefixes) > 0 {
		base.Go("cache", n.api.Cache.Serve)
	}
	for _, ready := range []<-chan struct{}{n.api.Bus.Ready(), n.api.RPC.Ready()} {
		select {
		case <-ready:
		case <-stopping.Done():
		case <-base.Context().Done():
		}
	}
	if stopping.Err() == nil && base.Context().Err() == nil {
		if err := n.work(stopping, base); err != nil {
			return nil, err
		}
	}
	n.leaveCluster()
	base.Stop()
	if cause := context.Cause(stopping); errors.Is(cause, ErrStop) || errors.Is(cause, ErrRestart) {
		why = cause
	}
	return why, nil
}

// tolerant returns serve without its error if the node is ending anyway. It logs the
// handlers that did not return.
func (n *Node) tolerant(serve func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := serve(ctx)
		if ctx.Err() == nil {
			return err
		}
		if _, stuck := errors.AsType[*redisbus.StuckError](err); stuck {
			n.log.Warn().Err(err).Msg("handlers outlived their node")
		}
		return nil
	}
}

// openBase opens the connections and makes the base storey: bus and RPC.
func (n *Node) openBase(base *group.Group) error {
	h := n.host
	token, err := h.clusterToken(base.Context())
	if err != nil {
		return err
	}
	n.conns, err = link.Open(h.cfg.Redis, n.lease.Incarnation.ID)
	if err != nil {
		return err
	}
	a := &API{Incarnation: n.lease.Incarnation, Log: n.log}
	inAPI := func() context.Context { return a.into(base.Context()) }
	cfg := redisbus.NewBusConfig(h.cfg.Redis, token)
	cfg.Publisher, cfg.Subscriber, cfg.Outbox, cfg.Identity = n.conns.Client, n.conns.Subscriber, h.outbox, n.identity()
	cfg.Inboxes, cfg.Broadcasts, cfg.DropWarnings = h.inboxes, h.broadcasts, h.dropWarnings
	cfg.BaseContext, cfg.Log, cfg.Reports, cfg.Beacons, cfg.Observer = inAPI, n.log, h.reports, h.beacons, h.observer
	wrap := &h.cfg.App.middleware
	cfg.PublishMiddleware, cfg.SubscriptionMiddleware = wrap.publish, wrap.subscription
	a.Bus, err = redisbus.NewBus(cfg)
	if err != nil {
		return err
	}
	a.Cache = h.cfg.Cache.open(cache.Config{
		Client: n.conns.Client, Batcher: h.batcher, Keys: h.keys, Holder: n.lease.Incarnation.String(),
		Observer: h.cfg.Observer, Reports: h.reports, Log: n.log, Dropped: a.Bus.CountDrop,
	})
	a.Tasks = h.tasks.Branch(context.WithoutCancel(base.Context()), n.conns.Client)
	a.Tasks.Observe(h.cfg.Observer)
	a.Tasks.Report(h.reports)
	a.Tasks.CountDrops(a.Bus.CountDrop)
	a.Tasks.LogTo(n.log)
	a.Inspector = tasks.NewInspector(n.conns.Client, h.keys)
	a.Inspector.Observe(h.observer)
	a.Inspector.OnChange(h.recordChange)
	a.Timeline = timeline.New(n.conns.Client, h.keys, n.lease.Incarnation.ID, timelineProcess(h.process))
	a.Connections = connections.New(n.conns.Client, h.keys, n.identity())
	methods := h.cfg.App.methods.Extend()
	builtin.Register(base.Context(), methods, builtin.Deps{
		Cache: a.Cache, Bus: a.Bus, Tasks: a.Tasks, Inspector: a.Inspector, Timeline: a.Timeline, Handled: &h.cfg.App.tasks,
		Connections: a.Connections, Controls: h.cfg.Set,
		ID: a.ID(), Status: n.Status, Stop: func() { n.Stop(ErrStop) }, Restart: func() { n.Stop(ErrRestart) },
	})
	methods.Advise(builtin.Advice)
	a.RPC, err = rpcregistry.New(rpcregistry.Config{
		Bus: a.Bus, Registry: methods, Members: h.directory, Modes: h.directory.Modes, Connections: a.Connections, BaseContext: inAPI,
		OnLog: h.onLog, Log: n.log, Observer: h.cfg.Observer, CallMiddleware: wrap.call, MethodMiddleware: wrap.method,
	})
	if err != nil {
		return err
	}
	h.endpoints.add(a.RPC)
	a.Bus.Subscribe(membersLeft, onLeaves(a.RPC), redisbus.SubscribeOptions{Inline: true})
	for _, s := range h.cfg.App.subscriptions {
		a.Bus.Subscribe(s.messageType, s.handle, redisbus.SubscribeOptions{})
	}
	n.mu.Lock()
	n.api = a
	n.mu.Unlock()
	return nil
}

// openWork makes the runner of the work storey.
func (n *Node) openWork() {
	h := n.host
	r := runner.New(runner.Config{
		Redis: n.conns.Tasks, Keys: h.keys, Incarnation: n.lease.Incarnation.String(), Fence: n.lease.Incarnation.Epoch,
		Registry: &h.cfg.App.tasks, Client: n.api.Tasks, Cache: n.api.Cache,
		Concurrency: n.cfg.Concurrency, Queues: n.cfg.Queues, Weights: n.cfg.Weights, Log: n.log, Solo: &h.solo, Flow: &h.flow,
		Turn: h.endings.take, Defaults: h.ticker.Defaults(), Bus: n.api.Bus,
		Observer: Observers(h.cfg.Observer, charting{to: h.charts}), Reports: h.reports, Grace: n.cfg.Grace, Warnings: &h.warnings,
	})
	n.api.Bus.Hint(h.keys.Wake(n.lease.Incarnation.String()), r.Hint)
	h.claims.add(r)
	n.mu.Lock()
	n.runner = r
	n.mu.Unlock()
}

// work runs the work storey until stopping ends and the drain is over.
func (n *Node) work(stopping context.Context, base *group.Group) error {
	if err := n.host.reports.Retry(base.Context(), "start", n.conns.Ping); err != nil {
		return fmt.Errorf("connections: %w", err)
	}
	n.connected()
	ctx := n.api.into(base.Context())
	if err := n.startHooks(ctx, stopping); err != nil || stopping.Err() != nil {
		return err
	}
	n.enter(ctx, membership.Running)
	close(n.running)
	n.observeStart()
	n.log.Info().Str("incarnation", n.lease.Incarnation.String()).
		Strs("connections", []string{"client", "subscriber", "tasks"}).
		Str("redis", n.host.cfg.Redis.Address()).Msg("node is running")
	n.host.announcer.join(n.lease.Incarnation.ID)
	n.started()

	handlers, cancel := context.WithCancelCause(ctx)
	defer cancel(tasks.ErrEnding)
	begun := make(chan struct{})
	running := context.AfterFunc(stopping, func() {
		base.Go("drain", func(context.Context) error { n.drain(handlers, cancel); return nil })
		close(begun)
	})
	defer func() {
		if !running() {
			<-begun // base.Wait must not run before base.Go
		}
	}()
	err := n.runner.Serve(stopping, handlers)
	if err == nil && stopping.Err() != nil && base.Context().Err() == nil {
		waiting, done := context.WithTimeout(base.Context(), n.cfg.Grace)
		n.runner.Await(waiting)
		done()
	}
	return err
}

// startHooks runs the app's hooks. If the node has to stop meanwhile, their context ends; a
// hook that does not return within the grace time is abandoned and counted as a zombie.
func (n *Node) startHooks(ctx, stopping context.Context) error {
	if len(n.host.cfg.App.start) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	done, returned := make(chan error, 1), make(chan struct{})
	go group.Run(startHook, func() error {
		for _, hook := range n.host.cfg.App.start {
			if err := hook(ctx); err != nil {
				return fmt.Errorf("start hook: %w", err)
			}
		}
		return nil
	}, func(err error) { done <- err; close(returned) })
	select {
	case err := <-done:
		return err
	case <-stopping.Done():
		cancel(context.Cause(stopping))
	case <-ctx.Done():
	}
	t := time.NewTimer(n.cfg.Grace)
	defer t.Stop()
	select {
	case <-done: //nolint:errcheck // the node is ending, whatever the hooks return
	case <-t.C:
		n.mu.Lock()
		n.ended.Running = append(n.ended.Running, startHook)
		n.mu.Unlock()
		n.host.watchAbandoned(n, hookOf(returned), false)
	}
	return nil
}

// drain gives the handlers the drain time to return, and then cancels them.
func (n *Node) drain(ctx context.Context, cancel context.CancelCauseFunc) {
	n.enter(ctx, membership.Draining)
	if n.runner.InHand() > 0 { // otherwise the drain is over as soon as it has begun
		n.publish(ctx, membership.Draining)
	}
	t := time.NewTimer(n.cfg.Drain)
	defer t.Stop()
	select {
	case <-n.cfg.Hurry:
		if link.Sleep(ctx, min(time.Second, n.cfg.Drain)) != nil {
			return
		}
	case <-t.C:
	case <-ctx.Done():
		return
	}
	cancel(fmt.Errorf("%w: drain deadline", tasks.ErrEnding))
}

// leaveCluster closes the node's client connections and has its leave announced.
func (n *Node) leaveCluster() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.lease.Context()), time.Second)
	defer cancel()
	if err := n.api.Connections.Close(ctx); err != nil {
		n.log.Debug().Err(err).Msg("client connections")
	}
	select {
	case <-n.running:
		n.host.announcer.leave(n.lease.Incarnation.ID)
	default: // its join was not announced
	}
}
