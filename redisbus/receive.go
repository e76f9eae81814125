package redisbus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/wire"
)

// line is the state of the one connection that listens.
type line struct {
	received, connects, reconnects atomic.Uint64
	connected                      atomic.Bool
	// heard is when anything last came, on the bus's monotonic clock.
	heard atomic.Int64
	// sub is the current subscription, for those who are not its reader.
	sub atomic.Pointer[redis.PubSub]
	// changed wakes the keeper: there are new channels.
	changed chan struct{}
	beacons sync.WaitGroup

	// confirmed are the channels that Redis has confirmed, under the bus's lock.
	confirmed map[string]bool
	// The reader's own: whether it was ever connected, and what it knows of senders.
	before bool
	peers  *peers
}

// Serve listens until ctx ends and returns when everything it started has ended.
// An outage of Redis is no error: Serve goes on trying, with [Pause] between
// tries. The error is nil, [ErrServing], or a [StuckError].
func (b *Bus) Serve(ctx context.Context) error {
	if !b.serve.TryLock() {
		return ErrServing
	}
	defer b.serve.Unlock()
	b.group.Open()
	handlers := ctx
	if b.base != nil {
		handlers = b.base() //nolint:contextcheck // the caller's own choice
	}
	handlers, cancel := context.WithCancel(handlers)
	defer cancel()

	outgoing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer b.reports.Works(b.part()) // it does not wait for Redis any more
	var parts, last sync.WaitGroup
	last.Go(func() { b.out.reside(outgoing) })
	parts.Go(func() { b.read(ctx, handlers) })
	b.keep(ctx)
	parts.Wait()
	cancel()
	err := b.group.Close(StopGrace)
	stop()
	last.Wait()
	b.out.drain()
	return err
}

// read owns the Receive loop.
func (b *Bus) read(ctx, handlers context.Context) {
	for ctx.Err() == nil {
		sub := b.subscriber.Subscribe(ctx)
		b.line.sub.Store(sub)
		stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
		b.receive(ctx, handlers, sub)
		stop()
		_ = sub.Close()
		_ = Sleep(ctx, Pause(1))
	}
}

// Limits of one read: the first read of a connection clears the time limit that
// connecting left on it, later ones save themselves the call.
const (
	noLimit   = time.Duration(0)
	keepLimit = time.Duration(-1)
)

// receive goes on until the subscription is closed: by the end of ctx, or by the
// keeper because nothing was heard for too long. go-redis dials and subscribes
// anew after an error; the pause before it is ours.
func (b *Bus) receive(ctx, handlers context.Context, sub *redis.PubSub) {
	defer b.disconnected()
	b.touch()
	err := sub.Subscribe(ctx, b.channels()...)
	limit := noLimit
	for failures := 0; ; {
		var got any
		if err == nil {
			got, err = sub.ReceiveTimeout(ctx, limit)
		}
		b.touch()
		if err == nil {
			failures, limit = 0, keepLimit
			b.accept(handlers, got)
			continue
		}
		if errors.Is(err, redis.ErrClosed) || ctx.Err() != nil {
			return
		}
		b.disconnected()
		limit = noLimit
		failures++
		b.reports.Failed(b.part(), err)
		_ = Sleep(ctx, Pause(failures))
		err = nil
	}
}

func (b *Bus) touch() { b.line.heard.Store(int64(time.Since(b.clock.start))) }

func (b *Bus) silence() time.Duration {
	return time.Since(b.clock.start) - time.Duration(b.line.heard.Load())
}

func (b *Bus) disconnected() {
	b.mu.Lock()
	b.line.confirmed = map[string]bool{}
	b.mu.Unlock()
	if b.line.connected.Swap(false) {
		b.line.reconnects.Add(1)
	}
}

// accept takes one thing from the connection. It must go on whatever it was.
func (b *Bus) accept(handlers context.Context, got any) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("the bus's reader panicked")
		}
	}()
	switch got := got.(type) {
	case *redis.Message:
		if got.Channel == b.keys.Beacon() {
			return // it has been heard: that is all
		}
		if hints := b.hintsOf(got.Channel); hints != nil {
			for _, f := range hints {
				f()
			}
			return
		}
		b.deliver(handlers, got.Channel, bytesOf(got.Payload))
	case *redis.Subscription:
		if got.Kind == "subscribe" {
			b.confirm(handlers, got.Channel)
		}
	}
}

// bytesOf gives away the bytes of a string that go-redis has just made for us and
// nobody else holds: a copy of every message would be the largest of all costs.
func bytesOf(text string) []byte {
	return unsafe.Slice(unsafe.StringData(text), len(text)) //nolint:gosec // see above
}

// own are the channels without which the bus is not connected.
func (b *Bus) own() []string {
	if b.inboxOnly {
		return []string{b.keys.Inbox(b.self.ID), b.keys.Beacon()}
	}
	return []string{b.keys.Channel(), b.keys.Inbox(b.self.ID), b.keys.Beacon()}
}

// channels are all, the broadcast channel first: it decides where in a Redis
// Cluster the bus listens.
func (b *Bus) channels() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.own()
	for channel := range b.hints {
		all = append(all, channel)
	}
	return all
}

func (b *Bus) hintsOf(channel string) []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hints[channel]
}

func (b *Bus) confirm(handlers context.Context, channel string) {
	b.mu.Lock()
	b.line.confirmed[channel] = true
	missing := slices.ContainsFunc(b.own(), func(c string) bool { return !b.line.confirmed[c] })
	b.mu.Unlock()
	for _, f := range b.hintsOf(channel) {
		f()
	}
	if missing || b.line.connected.Load() {
		return
	}
	b.line.connects.Add(1)
	b.line.connected.Store(true)
	b.reports.Works(b.part())
	if b.line.before {
		b.log.Debug().Msg("the bus is subscribed again")
		b.tell(handlers, Gap{Reason: GapReconnect})
	}
	b.line.before = true
	b.wake()
}

// tell hands a gap to everybody who asked for gaps.
func (b *Bus) tell(handlers context.Context, gap Gap) {
	for _, subs := range *b.subs.Load() {
		for _, s := range subs {
			s.offer(handlers, item{gap: &gap})
		}
	}
}

// deliver verifies a message and hands it to its subscriptions.
func (b *Bus) deliver(handlers context.Context, channel string, data []byte) {
	m, reason := b.verify(channel, data)
	if reason != "" {
		b.drops.count(reason, b.Now())
		return
	}
	m.Directed = channel != b.keys.Channel()
	if m.Seq > 0 {
		fresh, lost := b.line.peers.admit(&m, b.Now())
		if !fresh {
			b.drops.count(DropReplay, b.Now())
			return
		}
		if lost > 0 {
			b.tell(handlers, Gap{Reason: GapSequence, Sender: m.Sender(), Directed: m.Directed, Lost: lost})
		}
	}
	b.line.received.Add(1)
	for _, s := range (*b.subs.Load())[m.Type] {
		s.offer(handlers, item{message: m})
	}
}

// verify reads a message. Before its proof holds, nothing of it is decoded.
func (b *Bus) verify(channel string, data []byte) (Message, Drop) {
	if len(data) > MaxMessage {
		return Message{}, DropSize
	}
	prover := b.prover.Load()
	proven := prover.proven(channel, data)
	if !proven && prover.mode == ModeHMAC {
		return Message{}, DropProof
	}
	var e envelope
	if err := wire.Members(data, e.member); err != nil {
		return Message{}, dropOf(err)
	}
	if !proven && !prover.told(e.token) {
		return Message{}, DropProof
	}
	if !proven && e.seq == nil {
		if m, ok := e.foreign(data); ok {
			return m, ""
		}
		return Message{}, DropMalformed
	}
	m, ok := e.message(b.line.peers)
	if !ok {
		return Message{}, DropMalformed
	}
	if age := b.Now().Sub(m.SentAt); age > window || age < -window {
		return Message{}, DropStale
	}
	return m, ""
}
