package redisbus

import (
	"cmp"
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
	"github.com/stellarfw/stellar/redisbus/resp"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// pubsubState is the state of the bus's subscribed connection.
type pubsubState struct {
	received, connects, reconnects atomic.Uint64
	connected                      atomic.Bool
	// heard is when anything was last received, in nanoseconds since the bus's clock.start.
	heard atomic.Int64
	// conn is the current connection, for use outside its reader.
	conn atomic.Pointer[resp.Conn]
	// changed wakes the watchdog.
	changed chan struct{}
	beacons sync.WaitGroup // goroutines of sendBeacon
	lag     atomic.Int64   // [beaconLag] in nanoseconds if the last beacon could not be sent, else 0

	// confirmed has the channels whose subscription Redis has confirmed. Bus.mu guards it.
	confirmed map[string]bool
	// wasConnected and peers are used by the reader alone.
	wasConnected bool
	peers        *peers
	// first is when the bus subscribed for the first time, since clock.start; 0: not yet.
	first time.Duration
	// suspected is when a message was last the reason to read the clock, on [clock.steady].
	suspected time.Time
	// distrusted is when a message was last the reason to look for a new token.
	distrusted time.Time
}

// Serve receives messages until ctx ends and returns when its goroutines have ended. An
// outage of Redis is no error: Serve goes on trying, with [link.Pause] between tries. The
// error is nil, [ErrServing], or a [StuckError].
func (b *Bus) Serve(ctx context.Context) error {
	if !b.serve.TryLock() {
		return ErrServing
	}
	defer b.serve.Unlock()
	b.group.Open()
	handlers := ctx
	if b.base != nil {
		handlers = b.base() //nolint:contextcheck // BusConfig.BaseContext replaces ctx for handlers
	}
	handlers, cancel := context.WithCancel(handlers)
	defer cancel()
	b.broadcasts.buses.Add(1)
	defer b.broadcasts.buses.Add(-1)

	defer b.reports.Ended(b.reportName())
	defer b.reports.Ended(b.tokenReportName())
	if b.opening != nil {
		defer b.opening.record(ErrClosed, true)
		if !b.learnToken(ctx) {
			return nil
		}
	}
	var parts sync.WaitGroup
	parts.Go(func() { b.listen(ctx, handlers) })
	b.watch(ctx)
	parts.Wait()
	cancel()
	err := b.group.Close(StopGrace)
	b.out.drain()
	return err
}

// listen receives until ctx ends. The watchdog closes a connection on which nothing was
// heard for too long.
func (b *Bus) listen(ctx, handlers context.Context) {
	b.markHeard()
	defer b.disconnected()
	l := resp.Listener{
		Client: b.subscriber, Largest: MaxMessage,
		Begin: b.begin, Received: b.markHeard,
		Handle: func(e resp.Event) { b.accept(handlers, e) },
		Lost: func(_ int, err error) bool {
			b.disconnected()
			b.markHeard()
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) { // the watchdog closed it, and has reported why
				b.reports.Failed(b.reportName(), err)
			}
			if b.opening != nil && !b.Usable() {
				b.opening.record(link.Explain(err), false)
			}
			return true
		},
	}
	l.Serve(ctx)
}

// begin subscribes a new connection.
func (b *Bus) begin(conn *resp.Conn) error {
	b.markHeard()
	b.pubsub.conn.Store(conn)
	if err := conn.Subscribe(b.channels()...); err != nil {
		return err
	}
	b.pubsub.first = cmp.Or(b.pubsub.first, time.Since(b.clock.start))
	return nil
}

func (b *Bus) markHeard() { b.pubsub.heard.Store(int64(time.Since(b.clock.start))) }

func (b *Bus) silence() time.Duration {
	return time.Since(b.clock.start) - time.Duration(b.pubsub.heard.Load())
}

func (b *Bus) disconnected() {
	b.mu.Lock()
	b.pubsub.confirmed = map[string]bool{}
	b.mu.Unlock()
	if b.pubsub.connected.Swap(false) {
		b.pubsub.reconnects.Add(1)
	}
}

// accept handles one event. A panic must not end the reader.
func (b *Bus) accept(handlers context.Context, got resp.Event) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("the bus's reader panicked")
		}
	}()
	switch {
	case got.Kind == resp.Subscribed:
		b.confirmSubscription(handlers, got.Channel)
	case got.Kind != resp.Message:
	case got.TooLarge:
		b.drops.count(DropSize)
	case got.Channel == b.keys.Beacon(): // it only ends the silence, which markHeard has done
	default:
		if hints := b.hintsOf(got.Channel); hints != nil {
			for _, f := range hints {
				f()
			}
			return
		}
		b.deliver(handlers, got.Channel, got.Payload)
	}
}

// ownChannels returns the channels that must all be confirmed for the bus to be connected.
func (b *Bus) ownChannels() []string {
	own := []string{b.keys.Inbox(b.self.Incarnation), b.keys.Beacon()}
	if b.self.Incarnation != b.self.ID {
		own = append(own, b.keys.Inbox(b.self.ID)) // for senders that do not know the incarnation
	}
	if !b.inboxOnly {
		own = append(own, b.keys.Channel())
	}
	if b.shared != "" {
		own = append(own, b.keys.Inbox(b.shared))
	}
	return own
}

// channels returns the bus's own channels and those of its hints.
func (b *Bus) channels() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.ownChannels()
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

func (b *Bus) confirmSubscription(handlers context.Context, channel string) {
	b.mu.Lock()
	b.pubsub.confirmed[channel] = true
	missing := slices.ContainsFunc(b.ownChannels(), func(c string) bool { return !b.pubsub.confirmed[c] })
	b.mu.Unlock()
	for _, f := range b.hintsOf(channel) {
		f()
	}
	if missing || b.pubsub.connected.Load() {
		return
	}
	b.pubsub.connects.Add(1)
	b.pubsub.connected.Store(true)
	b.reports.Works(b.reportName())
	if b.pubsub.wasConnected {
		b.log.Debug().Msg("the bus is subscribed again")
		b.notifyGap(handlers, Gap{Reason: GapReconnect})
	}
	b.pubsub.wasConnected = true
	b.wakeWatchdog()
}

// notifyGap hands a gap to every subscription that asked for gaps.
func (b *Bus) notifyGap(handlers context.Context, gap Gap) {
	if b.drops.observer != nil {
		b.drops.observer.MessagesMissed(gap.Reason)
	}
	for _, subs := range *b.subs.Load() {
		for _, s := range subs {
			s.offer(handlers, item{gap: &gap})
		}
	}
}

// deliver verifies a message and hands it to its subscriptions.
func (b *Bus) deliver(handlers context.Context, channel string, data []byte) {
	m, reason := b.verify(channel, data)
	if reason == DropProof && b.readTokenAgain(handlers) {
		m, reason = b.verify(channel, data)
	}
	if m.Seq > 0 && b.clock.doubts(m.SentAt) && b.readClockAgain(handlers) {
		m, reason = b.verify(channel, data)
	}
	if reason != "" {
		b.drops.count(reason)
		if isForm(reason) && b.prover.Load().trusts(channel, data) {
			b.notifyGap(handlers, Gap{Reason: GapMalformed, Directed: channel != b.keys.Channel(), Lost: 1})
		}
		return
	}
	m.Directed, m.bound = channel != b.keys.Channel(), channel == b.inbox
	if m.Seq > 0 {
		fresh, lost := !b.tooEarly(m.SentAt), uint64(0)
		if fresh {
			fresh, lost = b.pubsub.peers.admit(&m, b.clock.steady())
		}
		if !fresh {
			b.drops.count(DropReplay)
			return
		}
		if lost > 0 {
			b.notifyGap(handlers, Gap{Reason: GapSequence, Sender: m.Sender(), Directed: m.Directed, Lost: lost})
		}
	}
	b.pubsub.received.Add(1)
	if b.drops.observer != nil {
		b.drops.observer.MessagePassed(Received)
	}
	b.offer(handlers, m)
}

// offer hands a message to its subscriptions.
func (b *Bus) offer(handlers context.Context, m Message) {
	subs := *b.subs.Load()
	for _, s := range subs[m.Type] {
		s.offer(handlers, item{message: m})
	}
	if m.Type == AnyType { // another implementation may have such a type
		return
	}
	for _, s := range subs[AnyType] {
		s.offer(handlers, item{message: m})
	}
}

// tooEarly reports whether a message was sent before this bus can have been meant.
func (b *Bus) tooEarly(sent time.Time) bool {
	return sent.Before(b.clock.at(b.pubsub.first).Add(-early))
}

// readClockAgain reads the clock for a message whose time is far from now, and reports
// whether it did. The reader waits for it, a moment and rarely, so that the message which
// shows that the clock is wrong is not lost.
func (b *Bus) readClockAgain(ctx context.Context) bool {
	now := b.clock.steady()
	if last := b.pubsub.suspected; !last.IsZero() && now.Sub(last) < suspicionPause {
		return false
	}
	b.pubsub.suspected = now
	ctx, cancel := context.WithTimeout(ctx, slowestReading)
	defer cancel()
	b.readClock(ctx)
	return true
}

// verify decodes a message, or returns the reason to drop it.
func (b *Bus) verify(channel string, data []byte) (Message, Drop) {
	prover := b.prover.Load()
	var m Message
	known := false
	if channel == b.keys.Channel() {
		m, known = b.broadcasts.find(prover, channel, data)
	}
	if !known {
		var reason Drop
		if m, reason = b.decode(prover, channel, data); reason != "" {
			return Message{}, reason
		}
	}
	if m.Seq == 0 { // of another implementation, without a time
		return m, ""
	}
	if age := b.Now().Sub(m.SentAt); age > window || age < -window {
		return m, DropStale
	}
	return m, ""
}

// decode verifies and decodes a message, or returns the reason to drop it. Nothing is decoded
// before the proof is verified, except where the mode also accepts the plain token.
func (b *Bus) decode(prover *prover, channel string, data []byte) (Message, Drop) {
	by := prover.provenBy(channel, data)
	if by == nil && prover.mode == link.ModeHMAC {
		return Message{}, DropProof
	}
	var e envelope
	if err := wire.Members(data, e.member); err != nil {
		return Message{}, dropOf(err)
	}
	if by == nil && !prover.hasPlainToken(e.token) {
		return Message{}, DropProof
	}
	if by == nil && e.seq == nil {
		if m, ok := e.foreign(data); ok {
			return m, ""
		}
		return Message{}, DropMalformed
	}
	m, ok := e.message(b.pubsub.peers)
	if !ok {
		return Message{}, DropMalformed
	}
	if by != nil && channel == b.keys.Channel() {
		b.broadcasts.keep(by, channel, data, m)
	}
	return m, ""
}
