package redisbus

import (
	"context"
	"sync"
	"time"
)

const (
	// beaconPause is how long the bus may hear nothing before it sends itself a
	// message; anything that is heard makes that needless.
	beaconPause = 2 * time.Second
	// mostSilence is how long it may hear nothing before it takes the connection
	// for dead: one that was cut off without a word looks like a quiet one.
	mostSilence = 6 * time.Second
	// upkeepPause is how often Redis's clock is read and the cluster's token is
	// looked after; both also after every interruption.
	upkeepPause = 30 * time.Second
)

// beacon is the type of the message that a bus sends itself.
const beacon = "beacon"

// keeper watches the connection that the reader reads.
type keeper struct {
	bus *Bus
	// Times on the bus's monotonic clock.
	beacon, upkeep time.Duration
	// connects is the number of the connection that the last upkeep was begun for.
	connects uint64
	tending  sync.WaitGroup
	busy     chan struct{} // holds one token while an upkeep runs
}

// wake makes the keeper look again.
func (b *Bus) wake() {
	select {
	case b.line.changed <- struct{}{}:
	default:
	}
}

// keep watches until ctx ends.
func (b *Bus) keep(ctx context.Context) {
	k := &keeper{bus: b, busy: make(chan struct{}, 1)}
	defer k.tending.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-b.line.changed:
		}
		timer.Reset(k.look(ctx))
	}
}

// look does what is due and returns when to look again.
func (k *keeper) look(ctx context.Context) time.Duration {
	b := k.bus
	now, silence, connected := time.Since(b.clock.start), b.silence(), b.line.connected.Load()
	if silence >= mostSilence {
		b.reports.Failed(b.part(), silentError{silence})
		b.touch()
		if sub := b.line.sub.Load(); sub != nil {
			_ = sub.Close() // the reader opens another one
		}
		return beaconPause
	}
	if !connected {
		return min(beaconPause, mostSilence-silence)
	}
	b.subscribeHints(ctx)
	if connects := b.line.connects.Load(); k.connects != connects || now-k.upkeep >= upkeepPause {
		k.tend(ctx, connects, now)
	}
	if silence >= beaconPause && now-k.beacon >= beaconPause {
		k.beacon = now
		_ = b.Post(ctx, b.self.ID, beacon, nil, nil) // when it fails, the silence says so
	}
	if silence < beaconPause {
		return beaconPause - silence
	}
	return max(min(k.beacon+beaconPause-now, mostSilence-silence), time.Millisecond)
}

// tend does what takes a round trip, aside, so that it cannot delay the watch.
func (k *keeper) tend(ctx context.Context, connects uint64, now time.Duration) {
	select {
	case k.busy <- struct{}{}:
	default:
		return
	}
	k.connects, k.upkeep = connects, now
	k.tending.Go(func() {
		defer k.bus.wake() // what came up meanwhile is next
		defer func() { <-k.busy }()
		k.bus.readClock(ctx)
		k.bus.checkToken(ctx)
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
func (b *Bus) subscribeHints(ctx context.Context) {
	var missing []string
	b.mu.Lock()
	for channel := range b.hints {
		if !b.line.confirmed[channel] {
			missing = append(missing, channel)
		}
	}
	b.mu.Unlock()
	if sub := b.line.sub.Load(); sub != nil && len(missing) > 0 {
		_ = sub.Subscribe(ctx, missing...) // the reader sees a broken connection
	}
}

// checkToken puts a token that Redis has lost back, or takes the one that is
// there now: who draws one when Redis came back empty would else be alone.
func (b *Bus) checkToken(ctx context.Context) {
	if !b.tokenKept {
		return
	}
	kept, err := b.keepToken(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.log.Warn().Err(err).Msg("could not look after the cluster's token")
		}
		return
	}
	if kept == b.token {
		return
	}
	prover, err := newProver(b.prover.Load().mode, kept, b.token)
	if err != nil {
		return // a kept token is never empty
	}
	b.prover.Store(prover)
	b.token = kept
	b.log.Info().Msg("the cluster has a new token")
}

func (b *Bus) keepToken(ctx context.Context) (Secret, error) {
	client, err := b.client(ctx)
	if err != nil {
		return "", err
	}
	return keepToken(ctx, client, b.keys, b.token)
}
