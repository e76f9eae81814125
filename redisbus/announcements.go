package redisbus

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// idleTimeout is how long the connection stays open without a waiter.
	idleTimeout = time.Second
	// MaxNap is the longest time between two tries of a waiter when no announcement
	// comes. It bounds the delay if the connection died unnoticed.
	MaxNap = 5 * time.Second
)

// Announcements lets callers wait for announcements on Redis channels, such as the
// end of a lock or of a task. All waiters share one connection, which is open only
// while somebody waits; a waiter holds no connection of the pool. Make one with
// [NewAnnouncements].
type Announcements struct {
	// Reports logs when the connection fails again and again; nil: nothing does. Set it
	// before the first use.
	Reports *link.Reports

	client redis.UniversalClient
	pace   link.Pace // of tries because of announcements, which have no proof

	mu         sync.Mutex
	topics     map[string]*topic
	sub        *redis.PubSub
	stop       context.CancelFunc // ends the goroutine that reads sub
	broken     bool               // the last read of sub failed; go-redis reconnects it
	subscribed map[string]bool
	idleTimer  *time.Timer
	dirty      map[string]struct{} // channels whose waiters have come or gone
	updating   bool                // a goroutine runs updateAll
	closed     bool
	closing    chan struct{}  // closed by Close
	running    sync.WaitGroup // goroutines that update and listen
}

// topic has the waiters of one channel in the order of their arrival. An
// announcement, such as that of a free lock, wakes the first waiter, and the next one
// when the first has left. Shared waiters, which wait for the same fact, all wake up.
type topic struct {
	waiters []*waiter
	live    bool // Redis has confirmed the subscription
}

type waiter struct {
	announcements *Announcements
	channel       string
	shared        bool
	signal        chan struct{} // has capacity 1; an element means that the waiter may try now
}

// announcing names the work of [Announcements] in reports.
const announcing = "announcements"

// NewAnnouncements returns Announcements that open their connection when needed.
func NewAnnouncements(client redis.UniversalClient) *Announcements {
	return &Announcements{
		client: client, topics: map[string]*topic{}, dirty: map[string]struct{}{}, closing: make(chan struct{}),
	}
}

// join adds a waiter. The waiter's first signal comes when Redis has confirmed the
// subscription of the channel and it is the waiter's turn. The waiter looks at the state
// only then, so that it cannot miss the announcement of a later change.
func (a *Announcements) join(ctx context.Context, channel string, shared bool) *waiter {
	w := &waiter{announcements: a, channel: channel, shared: shared, signal: make(chan struct{}, 1)}
	a.mu.Lock()
	t := a.topics[channel]
	if t == nil {
		t = &topic{}
		a.topics[channel] = t
		a.markDirty(ctx, channel)
	}
	t.waiters = append(t.waiters, w)
	if t.live && (shared || len(t.waiters) == 1) {
		w.wake()
	}
	a.mu.Unlock()
	return w
}

// leave removes the waiter and gives its turn to the next.
func (w *waiter) leave(ctx context.Context) {
	a := w.announcements
	a.mu.Lock()
	t := a.topics[w.channel]
	i := slices.Index(t.waiters, w)
	t.waiters = slices.Delete(t.waiters, i, i+1)
	if i == 0 && len(t.waiters) > 0 && t.live {
		t.waiters[0].wake()
	}
	if len(t.waiters) == 0 {
		delete(a.topics, w.channel)
		a.markDirty(ctx, w.channel)
	}
	a.mu.Unlock()
}

func (w *waiter) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// markDirty has a channel subscribed or unsubscribed in the background. One goroutine
// does so for all channels: while a connection is being opened, a waiter must not be held
// up beyond the end of its ctx. The caller holds a.mu.
func (a *Announcements) markDirty(ctx context.Context, channel string) {
	a.dirty[channel] = struct{}{}
	if !a.updating && !a.closed {
		a.updating = true
		a.running.Go(func() { a.updateAll(context.WithoutCancel(ctx)) })
	}
}

func (a *Announcements) updateAll(ctx context.Context) {
	for {
		a.mu.Lock()
		some := a.dirty
		a.dirty, a.updating = map[string]struct{}{}, len(some) > 0
		a.mu.Unlock()
		if len(some) == 0 {
			return
		}
		for channel := range some {
			a.update(ctx, channel)
		}
	}
}

// update subscribes a channel that has waiters and unsubscribes a channel that has none.
// An error needs no repetition here, and listen gets it too: go-redis subscribes all
// channels after it has reconnected.
func (a *Announcements) update(ctx context.Context, channel string) {
	a.mu.Lock()
	_, wanted := a.topics[channel]
	if a.sub == nil && wanted && !a.closed {
		a.sub, a.broken = a.client.Subscribe(ctx), false
		a.subscribed = map[string]bool{}
		var listening context.Context
		listening, a.stop = context.WithCancel(ctx)
		sub := a.sub
		a.running.Go(func() { a.listen(listening, sub) })
	}
	sub, has := a.sub, a.subscribed[channel]
	if sub != nil {
		a.subscribed[channel] = wanted
		if !wanted {
			delete(a.subscribed, channel)
		}
		if dropped := a.closeIfIdle(); dropped {
			wanted = has // the connection is closed: send no command on it
			defer func() { _ = sub.Close() }()
		}
	}
	a.mu.Unlock()
	if sub == nil || wanted == has {
		return
	}
	if wanted {
		_ = sub.Subscribe(ctx, channel)
	} else {
		_ = sub.Unsubscribe(ctx, channel)
	}
}

// closeIfIdle, called while nobody waits, closes the connection after [idleTimeout]
// unless somebody waits then. It detaches a broken connection at once and reports true;
// the caller must then close that connection. The caller holds a.mu.
func (a *Announcements) closeIfIdle() (dropped bool) {
	if a.idleTimer != nil {
		a.idleTimer.Stop()
		a.idleTimer = nil
	}
	if len(a.topics) > 0 {
		return false
	}
	if a.broken {
		a.detach()
		return true
	}
	sub := a.sub
	a.idleTimer = time.AfterFunc(idleTimeout, func() {
		a.mu.Lock()
		dropped := a.sub == sub && len(a.topics) == 0
		if dropped {
			a.detach()
		}
		a.mu.Unlock()
		if dropped {
			_ = sub.Close()
		}
	})
	return false
}

// Close closes the connection, ends all waits with [ErrClosed] and returns when
// nothing of the connection runs any more. It may be called more than once.
func (a *Announcements) Close() {
	a.mu.Lock()
	sub := a.sub
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	if a.idleTimer != nil {
		a.idleTimer.Stop()
		a.idleTimer = nil
	}
	if sub != nil {
		a.detach()
	}
	a.mu.Unlock()
	if sub != nil {
		_ = sub.Close()
	}
	a.running.Wait()
}

// detach forgets the connection; the next waiter opens another one.
func (a *Announcements) detach() {
	a.stop()
	a.sub = nil
}

// listen reads one connection's announcements until it is closed. The library
// opens it again and subscribes anew when it breaks.
func (a *Announcements) listen(ctx context.Context, sub *redis.PubSub) {
	for failures := 0; ; {
		message, err := sub.ReceiveTimeout(ctx, 0)
		a.mu.Lock()
		current := a.sub == sub
		if current && err != nil && len(a.topics) == 0 {
			a.detach() // without waiters there is no reason to reconnect: the client may have been closed
			current = false
		}
		if current {
			a.broken = err != nil
			a.wakeWaiters(message, err)
		}
		a.mu.Unlock()
		if !current {
			_ = sub.Close()
			a.Reports.Ended(announcing)
			return
		}
		if err == nil {
			failures = 0
			a.Reports.Works(announcing)
			continue
		}
		if failures++; failures >= link.FewTries {
			a.Reports.Failed(announcing, err)
		}
		_ = link.Sleep(ctx, link.Pause(failures))
	}
}

func (a *Announcements) wakeWaiters(message any, err error) {
	if err != nil {
		for _, t := range a.topics {
			t.live = false
		}
		return
	}
	channel := ""
	switch m := message.(type) {
	case *redis.Message:
		channel = m.Channel
	case *redis.Subscription:
		if m.Kind == "subscribe" {
			channel = m.Channel
		}
	}
	t := a.topics[channel]
	if t == nil {
		return
	}
	t.live = true
	for i, w := range t.waiters {
		if w.shared || i == 0 {
			w.wake()
		}
	}
}

// Await calls try, at first and after every announcement on the channel, until again
// returns false for its error, which Await then returns. When ctx ends it returns
// ctx's cause, after [Announcements.Close] [ErrClosed]. Of the waiters of a channel one at a time tries, in the order of their
// arrival, unless they are shared. try returns the time after which it may succeed
// without an announcement, 0 if that is not known.
func (a *Announcements) Await(
	ctx context.Context, channel string, shared bool, again func(error) bool, try func() (time.Duration, error),
) error {
	w := a.join(ctx, channel, shared)
	defer w.leave(ctx)
	timer := time.NewTimer(MaxNap)
	defer timer.Stop()
	for signals := 0; ; {
		announced := false
		select {
		case <-w.signal:
			// The first signal is the confirmed subscription, or the waiter's turn.
			if announced = signals > 0; announced && !a.rest(ctx) {
				continue // ctx or a has ended
			}
			signals++
		case <-timer.C:
			if !a.mayTry(w) {
				timer.Reset(MaxNap)
				continue
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.closing:
			return ErrClosed
		}
		nap, err := try()
		if !again(err) {
			if announced {
				a.pace.Refund()
			}
			return err
		}
		if nap <= 0 {
			nap = MaxNap
		}
		timer.Reset(min(nap, MaxNap))
	}
}

// rest waits until the announcement that has come may cause a try. It returns false if ctx or
// the Announcements end first.
func (a *Announcements) rest(ctx context.Context) bool {
	pause := a.pace.Pause()
	if pause == 0 {
		return true
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-a.closing:
	}
	return false
}

// mayTry reports whether it is the waiter's turn to try, also without an announcement.
func (a *Announcements) mayTry(w *waiter) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return w.shared || a.topics[w.channel].waiters[0] == w
}
