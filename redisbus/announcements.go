package redisbus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// idleTimeout is how long the connection stays open without a waiter.
	idleTimeout = time.Second
	// MaxNap is the longest that a waiter relies on an announcement: a connection
	// that died without a sign delays it by that much.
	MaxNap = 5 * time.Second
)

// Announcements lets callers wait for what is announced on Redis channels, such as
// the end of a lock or of a task. All waiters of one share one connection, which
// is there only while somebody waits, and who waits holds no connection of the
// pool. Make one with [NewAnnouncements].
type Announcements struct {
	client redis.UniversalClient
	log    zerolog.Logger

	mu         sync.Mutex
	topics     map[string]*topic
	sub        *redis.PubSub
	stop       context.CancelFunc // ends what reads sub
	broken     bool               // sub is being opened again
	subscribed map[string]bool
	idleTimer  *time.Timer
	dirty      map[string]struct{} // channels whose waiters have come or gone
	updating   bool                // one goroutine settles them
}

// topic is one channel's waiters in the order of their arrival. Only the first
// tries when woken, the next one when it has left: what is announced is there
// for one of them. Those that wait for the same fact all try.
type topic struct {
	waiters []*waiter
	live    bool // Redis has confirmed the subscription
}

type waiter struct {
	hub     *Announcements
	channel string
	shared  bool
	signal  chan struct{} // to try, holds one
}

// NewAnnouncements returns one that opens its connection when it needs it.
func NewAnnouncements(client redis.UniversalClient, log zerolog.Logger) *Announcements {
	return &Announcements{client: client, log: log, topics: map[string]*topic{}, dirty: map[string]struct{}{}}
}

// join lines up. The first signal comes when the channel is subscribed and it is
// this waiter's turn: what it finds then, it is told the end of.
func (h *Announcements) join(ctx context.Context, channel string, shared bool) *waiter {
	w := &waiter{hub: h, channel: channel, shared: shared, signal: make(chan struct{}, 1)}
	h.mu.Lock()
	t := h.topics[channel]
	if t == nil {
		t = &topic{}
		h.topics[channel] = t
		h.markDirty(ctx, channel)
	}
	t.waiters = append(t.waiters, w)
	if t.live && (shared || len(t.waiters) == 1) {
		w.wake()
	}
	h.mu.Unlock()
	return w
}

// leave gives the turn to the next.
func (w *waiter) leave(ctx context.Context) {
	h := w.hub
	h.mu.Lock()
	t := h.topics[w.channel]
	for i, other := range t.waiters {
		if other == w {
			t.waiters = append(t.waiters[:i:i], t.waiters[i+1:]...)
			if i == 0 && len(t.waiters) > 0 && t.live {
				t.waiters[0].wake()
			}
			break
		}
	}
	if len(t.waiters) == 0 {
		delete(h.topics, w.channel)
		h.markDirty(ctx, w.channel)
	}
	h.mu.Unlock()
}

func (w *waiter) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// markDirty has a channel settled. One goroutine does it for all: who waits must
// not be held up by a connection that is being opened, longer than ctx lasts.
// The caller holds h.mu.
func (h *Announcements) markDirty(ctx context.Context, channel string) {
	h.dirty[channel] = struct{}{}
	if !h.updating {
		h.updating = true
		go h.updateAll(context.WithoutCancel(ctx))
	}
}

func (h *Announcements) updateAll(ctx context.Context) {
	for {
		h.mu.Lock()
		some := h.dirty
		h.dirty, h.updating = map[string]struct{}{}, len(some) > 0
		h.mu.Unlock()
		if len(some) == 0 {
			return
		}
		for channel := range some {
			h.update(ctx, channel)
		}
	}
}

// update makes Redis's view of a channel that of the waiters. An error leaves it
// to the next connection, which subscribes anew.
func (h *Announcements) update(ctx context.Context, channel string) {
	h.mu.Lock()
	_, wanted := h.topics[channel]
	if h.sub == nil && wanted {
		h.sub, h.broken = h.client.Subscribe(ctx), false
		h.subscribed = map[string]bool{}
		var listening context.Context
		listening, h.stop = context.WithCancel(ctx)
		go h.listen(listening, h.sub)
	}
	sub, has := h.sub, h.subscribed[channel]
	if sub != nil {
		h.subscribed[channel] = wanted
		if !wanted {
			delete(h.subscribed, channel)
		}
		if dropped := h.closeIfIdle(); dropped {
			wanted = has // nothing to say on it any more
			defer func() { _ = sub.Close() }()
		}
	}
	h.mu.Unlock()
	if sub == nil || wanted == has {
		return
	}
	var err error
	if wanted {
		err = sub.Subscribe(ctx, channel)
	} else {
		err = sub.Unsubscribe(ctx, channel)
	}
	if err != nil && !errors.Is(err, redis.ErrClosed) {
		h.log.Debug().Err(err).Msg("the connection for announcements will be opened again")
	}
}

// closeIfIdle gives the connection up when nobody has waited for a while, or at once, to
// be closed by the caller, when it does not work.
func (h *Announcements) closeIfIdle() (dropped bool) {
	if h.idleTimer != nil {
		h.idleTimer.Stop()
		h.idleTimer = nil
	}
	if len(h.topics) > 0 {
		return false
	}
	if h.broken {
		h.detach()
		return true
	}
	sub := h.sub
	h.idleTimer = time.AfterFunc(idleTimeout, func() {
		h.mu.Lock()
		dropped := h.sub == sub && len(h.topics) == 0
		if dropped {
			h.detach()
		}
		h.mu.Unlock()
		if dropped {
			_ = sub.Close()
		}
	})
	return false
}

// detach forgets the connection; the next waiter opens another.
func (h *Announcements) detach() {
	h.stop()
	h.sub = nil
}

// listen reads one connection's announcements until it is closed. The library
// opens it again and subscribes anew when it breaks.
func (h *Announcements) listen(ctx context.Context, sub *redis.PubSub) {
	for failures := 0; ; {
		message, err := sub.ReceiveTimeout(ctx, 0)
		h.mu.Lock()
		current := h.sub == sub
		if current && err != nil && len(h.topics) == 0 {
			h.detach() // nobody needs it again, perhaps the client was closed
			current = false
		}
		if current {
			h.broken = err != nil
			h.wakeWaiters(message, err)
		}
		h.mu.Unlock()
		if !current {
			_ = sub.Close()
			return
		}
		if err == nil {
			failures = 0
			continue
		}
		failures++
		_ = link.Sleep(ctx, link.Pause(failures))
	}
}

func (h *Announcements) wakeWaiters(message any, err error) {
	if err != nil {
		for _, t := range h.topics {
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
	t := h.topics[channel]
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

// Await calls try whenever it may succeed, until again does not want another try
// after its error, or ctx ends: then the error is ctx's cause. One waiter of a
// channel at a time tries, in the order of their arrival, unless they share what
// is announced. try returns after how long it may succeed even if nobody
// announces it; 0: not known.
func (h *Announcements) Await(
	ctx context.Context, channel string, shared bool, again func(error) bool, try func() (time.Duration, error),
) error {
	w := h.join(ctx, channel, shared)
	defer w.leave(ctx)
	timer := time.NewTimer(MaxNap)
	defer timer.Stop()
	for {
		select {
		case <-w.signal:
		case <-timer.C:
			if !h.mayTry(w) {
				timer.Reset(MaxNap)
				continue
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		nap, err := try()
		if !again(err) {
			return err
		}
		if nap <= 0 {
			nap = MaxNap
		}
		timer.Reset(min(nap, MaxNap))
	}
}

func (h *Announcements) mayTry(w *waiter) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.shared || h.topics[w.channel].waiters[0] == w
}
