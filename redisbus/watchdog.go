package redisbus

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// maxSilence is how long nothing may be received before the connection is taken for
	// dead: a connection that was cut off without notice looks like a quiet one.
	maxSilence = 6 * time.Second
	// oldTokenGrace is for how long a token is accepted after there is a new one: as long as
	// others may take to look.
	oldTokenGrace = time.Minute
	// maintenancePause is the time between two checks of the cluster's token, clockPause
	// the time between two readings of Redis's clock. Both also happen after every
	// reconnection and after the host was suspended.
	maintenancePause = time.Minute
	clockPause       = 4 * time.Minute
)

// watchdog sends beacons so that something is received on every working connection,
// closes a connection on which nothing is, and keeps the clock and the token up to date.
type watchdog struct {
	bus *Bus
	// Times of the last maintenance and of the last clock reading, on the bus's
	// monotonic clock.
	maintained, clockRead time.Duration
	// connects is [pubsubState.connects] as of the last maintenance.
	connects    uint64
	failed      atomic.Bool // the last maintenance failed: the next one comes soon
	maintaining sync.WaitGroup
	busy        chan struct{} // holds one element while maintenance runs
}

// wakeWatchdog has the watchdog check at once.
func (b *Bus) wakeWatchdog() {
	select {
	case b.pubsub.changed <- struct{}{}:
	default:
	}
}

// watch runs the watchdog until ctx ends.
func (b *Bus) watch(ctx context.Context) {
	w := &watchdog{bus: b, busy: make(chan struct{}, 1)}
	defer w.maintaining.Wait()
	defer b.pubsub.beacons.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-b.pubsub.changed:
		}
		timer.Reset(w.check(ctx))
	}
}

// check does everything that is due and returns the time until the next check.
func (w *watchdog) check(ctx context.Context) time.Duration {
	b := w.bus
	now, silence, connected := time.Since(b.clock.start), b.silence(), b.pubsub.connected.Load()
	if silence >= maxSilence {
		b.reports.Failed(b.reportName(), silentError{silence})
		b.markHeard()
		if conn := b.pubsub.conn.Load(); conn != nil {
			conn.Close() // the reader opens another one
		}
		return beaconPause
	}
	if !connected {
		return min(beaconPause, maxSilence-silence)
	}
	b.subscribeHints()
	pause := maintenancePause
	if w.failed.Load() {
		pause = beaconPause
	}
	if connects := b.pubsub.connects.Load(); w.connects != connects || now-w.maintained >= pause || w.clockDue(connects, now) {
		w.maintain(ctx, connects, now)
	}
	wait, mine := b.beacons.due(silence, time.Duration(b.pubsub.lag.Load()))
	if mine {
		b.sendBeacon(ctx)
	}
	return max(min(wait, maxSilence-silence), time.Millisecond)
}

// maintain reads the clock and checks the token on a goroutine of its own: their
// round trips must not delay the next check.
func (w *watchdog) maintain(ctx context.Context, connects uint64, now time.Duration) {
	select {
	case w.busy <- struct{}{}:
	default:
		return
	}
	clockDue := w.clockDue(connects, now)
	w.connects, w.maintained = connects, now
	if clockDue {
		w.clockRead = now
	}
	w.maintaining.Go(func() {
		defer w.bus.wakeWatchdog() // maintenance may have become due again meanwhile
		defer func() { <-w.busy }()
		if clockDue {
			w.bus.readClock(ctx)
		}
		err := w.bus.checkToken(ctx)
		w.failed.Store(err != nil)
		w.bus.reports.Failed(w.bus.tokenReportName(), err)
		w.bus.readyOnce.Do(func() { close(w.bus.ready) })
	})
}

// clockDue reports whether Redis's clock is to be read again.
func (w *watchdog) clockDue(connects uint64, now time.Duration) bool {
	since := now - w.clockRead
	return w.connects != connects || since >= clockPause || since >= suspicionPause && w.bus.clock.drifted()
}

func (b *Bus) readClock(ctx context.Context) {
	if err := b.clock.read(ctx, b.publisher); err != nil && ctx.Err() == nil {
		b.log.Debug().Err(err).Msg("could not read Redis's clock")
	}
}

// subscribeHints subscribes the hints' channels that Redis has not confirmed yet.
func (b *Bus) subscribeHints() {
	var missing []string
	b.mu.Lock()
	for channel := range b.hints {
		if !b.pubsub.confirmed[channel] {
			missing = append(missing, channel)
		}
	}
	b.mu.Unlock()
	if conn := b.pubsub.conn.Load(); conn != nil && len(missing) > 0 {
		_ = conn.Subscribe(missing...) // the reader notices a broken connection
	}
}

// checkToken writes the token to Redis again if Redis has lost it. If there is a new token,
// because an operator wants to revoke the old one, or another node has drawn it meanwhile, the
// bus signs with the new one.
func (b *Bus) checkToken(ctx context.Context) error {
	if !b.tokenKept {
		return nil
	}
	b.checking.Lock()
	defer b.checking.Unlock()
	var kept link.Secret
	var err error
	if b.opening != nil { // a program that is no node
		if kept, err = readToken(ctx, b.publisher, b.keys); errors.Is(err, ErrNoToken) {
			return nil
		}
	} else {
		kept, err = keepToken(ctx, b.publisher, b.keys, b.token)
	}
	if err != nil || kept.Equal(b.token) {
		return err
	}
	return b.changeToken(kept)
}

// changeToken signs with a new token and accepts the old one for [oldTokenGrace]. The caller
// holds b.checking.
func (b *Bus) changeToken(token link.Secret) error {
	mode := b.mode
	both, err := newProver(mode, token, b.token, b.also)
	if err != nil {
		return err
	}
	alone, err := newProver(mode, token, b.also)
	if err != nil {
		return err
	}
	b.prover.Store(both)
	b.token = token
	time.AfterFunc(oldTokenGrace, func() { b.prover.CompareAndSwap(both, alone) })
	b.log.Info().Msg("the cluster has a new token")
	return nil
}

// readTokenAgain looks whether there is a new token, for a message without a valid proof, and
// reports whether there is one. The reader waits for it, a moment and rarely, so that no
// message is lost that somebody has signed with the new token who looked before.
func (b *Bus) readTokenAgain(ctx context.Context) bool {
	now := b.clock.steady()
	if last := b.pubsub.distrusted; !b.tokenKept || !last.IsZero() && now.Sub(last) < suspicionPause {
		return false
	}
	b.pubsub.distrusted = now
	ctx, cancel := context.WithTimeout(ctx, slowestReading)
	defer cancel()
	before := b.prover.Load()
	return b.checkToken(ctx) == nil && b.prover.Load() != before
}

// silentError is the failure of a connection on which nothing was received.
type silentError struct{ time.Duration }

func (e silentError) Error() string {
	return "nothing heard on the bus for " + e.Round(time.Millisecond).String()
}
func (silentError) Unwrap() error { return os.ErrDeadlineExceeded }
