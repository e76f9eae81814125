package redisbus

import (
	"context"
	"github.com/stellarfw/stellar/redisbus/link"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSilence is how long it may hear nothing before it takes the connection
	// for dead: one that was cut off without a word looks like a quiet one.
	maxSilence = 6 * time.Second
	// maintenancePause is how often the cluster's token is looked after, clockPause how
	// often Redis's clock is read; both also after every interruption.
	maintenancePause = 30 * time.Second
	clockPause       = 4 * time.Minute
	// relaxPause is how long a bus that posts nothing keeps what makes posting fast.
	relaxPause = 10 * time.Second
)

// watchdog watches the connection that the reader reads.
type watchdog struct {
	bus *Bus
	// Times on the bus's monotonic clock.
	maintained, clockRead, relaxed time.Duration
	// connects is the number of the connection that the last upkeep was begun for.
	connects    uint64
	failed      atomic.Bool // the last upkeep, which is tried again soon
	maintaining sync.WaitGroup
	busy        chan struct{} // holds one token while an upkeep runs
}

// wakeWatchdog makes the keeper look again.
func (b *Bus) wakeWatchdog() {
	select {
	case b.pubsub.changed <- struct{}{}:
	default:
	}
}

// watch watches until ctx ends.
func (b *Bus) watch(ctx context.Context) {
	k := &watchdog{bus: b, busy: make(chan struct{}, 1)}
	defer k.maintaining.Wait()
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
		timer.Reset(k.check(ctx))
	}
}

// check does what is due and returns when to look again.
func (k *watchdog) check(ctx context.Context) time.Duration {
	b := k.bus
	now, silence, connected := time.Since(b.clock.start), b.silence(), b.pubsub.connected.Load()
	if now-k.relaxed >= relaxPause {
		k.relaxed = now
		b.out.relax()
	}
	if silence >= maxSilence {
		b.reports.Failed(b.reportName(), silentError{silence})
		b.markHeard()
		if e := b.pubsub.conn.Load(); e != nil {
			e.close() // the reader opens another one
		}
		return beaconPause
	}
	if !connected {
		return min(beaconPause, maxSilence-silence)
	}
	b.subscribeHints()
	pause := maintenancePause
	if k.failed.Load() {
		pause = beaconPause
	}
	if connects := b.pubsub.connects.Load(); k.connects != connects || now-k.maintained >= pause {
		k.maintain(ctx, connects, now)
	}
	wait, mine := b.beacons.due(silence, time.Duration(b.pubsub.lag.Load()))
	if mine {
		b.sendBeacon(ctx)
	}
	return max(min(wait, maxSilence-silence), time.Millisecond)
}

// maintain does what takes a round trip, aside, so that it cannot delay the watch.
func (k *watchdog) maintain(ctx context.Context, connects uint64, now time.Duration) {
	select {
	case k.busy <- struct{}{}:
	default:
		return
	}
	tell := k.connects != connects || now-k.clockRead >= clockPause
	k.connects, k.maintained = connects, now
	if tell {
		k.clockRead = now
	}
	k.maintaining.Go(func() {
		defer k.bus.wakeWatchdog() // what came up meanwhile is next
		defer func() { <-k.busy }()
		if tell {
			k.bus.readClock(ctx)
		}
		err := k.bus.checkToken(ctx)
		k.failed.Store(err != nil)
		k.bus.reports.Failed(k.bus.tokenReportName(), err)
		k.bus.readyOnce.Do(func() { close(k.bus.ready) })
	})
}

func (b *Bus) readClock(ctx context.Context) {
	client, err := b.client(ctx)
	if err == nil {
		err = b.clock.read(ctx, client)
	}
	if err != nil && ctx.Err() == nil {
		b.log.Debug().Err(err).Msg("could not read Redis's clock")
	}
}

// subscribeHints subscribes the channels of hints that came after the connection.
func (b *Bus) subscribeHints() {
	var missing []string
	b.mu.Lock()
	for channel := range b.hints {
		if !b.pubsub.confirmed[channel] {
			missing = append(missing, channel)
		}
	}
	b.mu.Unlock()
	if e := b.pubsub.conn.Load(); e != nil && len(missing) > 0 {
		_ = e.subscribe(missing...) // the reader sees a broken connection
	}
}

// checkToken puts a token that Redis has lost back, or takes the one that is
// there now: who draws one when Redis came back empty would else be alone.
func (b *Bus) checkToken(ctx context.Context) error {
	if !b.tokenKept {
		return nil
	}
	kept, err := b.keepToken(ctx)
	if err != nil || kept == b.token {
		return err
	}
	prover, err := newProver(b.prover.Load().mode, kept, b.token)
	if err != nil {
		return err
	}
	b.prover.Store(prover)
	b.token = kept
	b.log.Info().Msg("the cluster has a new token")
	return nil
}

func (b *Bus) keepToken(ctx context.Context) (link.Secret, error) {
	client, err := b.client(ctx)
	if err != nil {
		return "", err
	}
	return keepToken(ctx, client, b.keys, b.token)
}

// silentError is the failure of a connection on which nothing is heard.
type silentError struct{ time.Duration }

func (e silentError) Error() string {
	return "nothing heard on the bus for " + e.Round(time.Millisecond).String()
}
func (silentError) Unwrap() error { return os.ErrDeadlineExceeded }
