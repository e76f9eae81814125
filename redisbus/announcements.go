package redisbus

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/resp"
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
	// Dropped, when set, is told of each message that was dropped, which for [DropSize] woke nobody
	// (see [Bus.CountDrop]). Set it before the first use.
	Dropped func(Drop)

	client redis.UniversalClient
	pace   link.Pace // of tries because of announcements, which have no proof

	mu        sync.Mutex
	topics    map[string]*topic
	listening *listening // nil while nobody waits, except for idleTimeout
	idleTimer *time.Timer
	dirty     map[string]struct{} // channels whose waiters have come or gone
	updating  bool                // a goroutine runs updateAll
	closed    bool
	closing   chan struct{}  // closed by Close
	running   sync.WaitGroup // goroutines that update and listen
}

// listening is the state of a goroutine that listens.
type listening struct {
	stop       context.CancelFunc
	conn       *resp.Conn      // nil between two connections
	broken     bool            // the last connection failed
	subscribed map[string]bool // the channels that were asked for on conn
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

// NewAnnouncements returns Announcements that open their connection, as the client does, when
// needed. With another client than a *redis.Client or a *redis.ClusterClient nothing is heard:
// waiters try every [MaxNap].
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

// markDirty has a channel subscribed or unsubscribed in the background, on a connection that
// is opened if there is none: a waiter must not be held up beyond the end of its ctx. The
// caller holds a.mu.
func (a *Announcements) markDirty(ctx context.Context, channel string) {
	if a.closed {
		return
	}
	if a.idleTimer != nil {
		a.idleTimer.Stop()
	}
	switch l := a.listening; {
	case len(a.topics) == 0 && l != nil && l.broken:
		a.end() // nobody needs another connection
	case len(a.topics) == 0:
		a.endWhenIdle()
	case l == nil:
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		l := &listening{stop: stop}
		a.listening = l
		a.running.Go(func() { a.listen(ctx, l) })
	}
	a.dirty[channel] = struct{}{}
	a.startUpdate()
}

// endWhenIdle ends the listening after [idleTimeout] unless somebody waits then. The caller
// holds a.mu.
func (a *Announcements) endWhenIdle() {
	l := a.listening
	a.idleTimer = time.AfterFunc(idleTimeout, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.listening == l && len(a.topics) == 0 {
			a.end()
		}
	})
}

// end ends the listening; the next waiter begins another one. The caller holds a.mu.
func (a *Announcements) end() {
	if a.listening != nil {
		a.listening.stop()
		a.listening = nil
	}
}

// startUpdate starts one goroutine that updates the subscriptions. The caller holds a.mu.
func (a *Announcements) startUpdate() {
	if !a.updating {
		a.updating = true
		a.running.Go(a.updateAll)
	}
}

// updateAll subscribes channels that have waiters and unsubscribes channels that have none. An
// error needs no repetition: all channels are subscribed on the next connection.
func (a *Announcements) updateAll() {
	for {
		conn, more, fewer := a.updates()
		if conn == nil {
			return
		}
		if len(more) > 0 {
			_ = conn.Subscribe(more...)
		}
		if len(fewer) > 0 {
			_ = conn.Unsubscribe(fewer...)
		}
	}
}

// updates returns what is to be subscribed and unsubscribed on which connection, or nil, which
// ends the updating.
func (a *Announcements) updates() (conn *resp.Conn, more, fewer []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.listening
	if len(a.dirty) == 0 || l == nil || l.conn == nil { // begin subscribes all
		a.updating = false
		clear(a.dirty)
		return nil, nil, nil
	}
	for channel := range a.dirty {
		t, wanted := a.topics[channel]
		switch subscribed := l.subscribed[channel]; {
		case wanted && (!subscribed || !t.live): // a new topic of a channel that is still subscribed needs a confirmation, too
			more = append(more, channel)
			l.subscribed[channel] = true
		case !wanted && subscribed:
			fewer = append(fewer, channel)
			delete(l.subscribed, channel)
		}
	}
	clear(a.dirty)
	return l.conn, more, fewer
}

// Close closes the connection, ends all waits with [ErrClosed] and returns when
// nothing of the connection runs any more. It may be called more than once.
func (a *Announcements) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	if a.idleTimer != nil {
		a.idleTimer.Stop()
	}
	a.end()
	a.mu.Unlock()
	a.running.Wait()
}

// listen hears announcements until the listening ends.
func (a *Announcements) listen(ctx context.Context, of *listening) {
	l := resp.Listener{
		Client: a.client, Largest: MaxMessage, Silence: maxSilence,
		Begin: func(conn *resp.Conn) error {
			a.begin(of, conn)
			return nil
		},
		Handle: func(e resp.Event) { a.handle(of, e) },
		Lost:   func(failures int, err error) bool { return a.lost(of, failures, err) },
	}
	l.Serve(ctx)
	a.Reports.Ended(announcing)
}

// begin has all channels subscribed on a new connection.
func (a *Announcements) begin(l *listening, conn *resp.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listening != l {
		return
	}
	l.conn, l.subscribed, l.broken = conn, map[string]bool{}, false
	for channel := range a.topics {
		a.dirty[channel] = struct{}{}
	}
	a.startUpdate()
}

// lost reports whether to open another connection: not if nobody waits, as the client may
// have been closed.
func (a *Announcements) lost(l *listening, failures int, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listening != l {
		return false
	}
	l.conn, l.broken = nil, true
	for _, t := range a.topics {
		t.live = false
	}
	if len(a.topics) == 0 {
		a.end()
		return false
	}
	if failures >= link.FewTries {
		a.Reports.Failed(announcing, err)
	}
	return true
}

// handle wakes the waiters of a channel on which something was announced, or whose
// subscription Redis has confirmed.
func (a *Announcements) handle(l *listening, e resp.Event) {
	a.Reports.Works(announcing)
	if e.TooLarge {
		if a.Dropped != nil {
			a.Dropped(DropSize)
		}
		return
	}
	if e.Kind != resp.Message && e.Kind != resp.Subscribed {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.topics[e.Channel]
	if t == nil || a.listening != l {
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
