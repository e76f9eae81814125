package redisbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// line is the state of the one connection that listens.
type line struct {
	received, connects, reconnects atomic.Uint64
	connected                      atomic.Bool
	// heard is when anything last came, on the bus's monotonic clock.
	heard atomic.Int64
	// ear is the current connection, for those who are not its reader.
	ear atomic.Pointer[ear]
	// changed wakes the keeper: there are new channels.
	changed chan struct{}
	beacons sync.WaitGroup
	lag     atomic.Int64 // beaconLag in nanoseconds after a beacon that could not be sent

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

	defer b.reports.Ended(b.part())
	defer b.reports.Ended(b.tokenPart())
	if b.opening != nil {
		defer b.opening.fail(ErrClosed, true)
		if !b.learnToken(ctx) {
			return nil
		}
	}
	b.out.open()
	var parts sync.WaitGroup
	parts.Go(func() { b.read(ctx, handlers) })
	b.keep(ctx)
	parts.Wait()
	cancel()
	err := b.group.Close(StopGrace)
	b.out.close()
	b.out.drain()
	return err
}

// read listens, and connects anew whenever that ends.
func (b *Bus) read(ctx, handlers context.Context) {
	for failures := 1; ctx.Err() == nil; failures++ {
		connects := b.line.connects.Load()
		err := b.listen(ctx, handlers)
		b.disconnected()
		b.touch()
		if ctx.Err() != nil {
			return
		}
		if b.line.connects.Load() > connects {
			failures = 1
		}
		if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) { // that was the keeper, who has said why
			b.reports.Failed(b.part(), err)
		}
		_ = link.Sleep(ctx, link.Pause(failures))
	}
}

// listen goes on until the connection ends: by itself, with ctx, or by the keeper
// because nothing was heard for too long.
func (b *Bus) listen(ctx, handlers context.Context) error {
	b.touch()
	e, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer e.close()
	b.line.ear.Store(e)
	stop := context.AfterFunc(ctx, e.close)
	defer stop()
	if err := e.subscribe(b.channels()...); err != nil {
		return err
	}
	for {
		got, err := e.next()
		if err != nil {
			return err
		}
		b.touch()
		b.accept(handlers, got)
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
func (b *Bus) accept(handlers context.Context, got heard) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("the bus's reader panicked")
		}
	}()
	switch {
	case got.kind == "subscribe":
		b.confirm(handlers, got.channel)
	case got.kind != "message":
	case got.channel == b.keys.Beacon(): // it has been heard: that is all
	default:
		if hints := b.hintsOf(got.channel); hints != nil {
			for _, f := range hints {
				f()
			}
			return
		}
		b.deliver(handlers, got.channel, got.payload)
	}
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
	if !proven && prover.mode == link.ModeHMAC {
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
