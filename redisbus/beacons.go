package redisbus

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// beaconPause is how long a bus receives nothing before it sends a beacon, an empty
// message to every bus of the cluster. A random time of up to half of beaconPause is
// added, so that of a thousand idle buses the first sends for all.
const beaconPause = 2 * time.Second

// beaconLag is added to the pause of a bus whose last beacon could not be sent, so
// that the other buses of the process are tried first.
const beaconLag = 250 * time.Millisecond

// Beacons coordinates the beacons of the buses in one process: one bus sends for
// all, and all check for silence at the same moments, so that an idle process wakes
// up once and not once for each bus.
type Beacons struct {
	mu           sync.Mutex
	silenceLimit time.Duration // a bus that has received nothing for this long sends a beacon
	sent         time.Time     // when this process sent its last beacon
}

// NewBeacons returns Beacons for [BusConfig].
func NewBeacons() *Beacons { return &Beacons{silenceLimit: randomSilence()} }

func randomSilence() time.Duration {
	return beaconPause + rand.N(beaconPause/2) //nolint:gosec // jitter
}

// due reports whether a bus that has received nothing for the time silence is to send a
// beacon now (mine), and how long the bus can wait before it asks again. lag is 0 or
// [beaconLag]. If the sending bus is cut off, another one sends before the others give up
// their connections.
func (b *Beacons) due(silence, lag time.Duration) (wait time.Duration, mine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait = b.silenceLimit + lag - silence; wait > 0 {
		return wait, false
	}
	if wait = beaconPause + lag - time.Since(b.sent); wait > 0 {
		return wait, false
	}
	b.sent, b.silenceLimit = time.Now(), randomSilence()
	return beaconPause, true
}

// sendBeacon publishes a beacon in the background.
func (b *Bus) sendBeacon(ctx context.Context) {
	b.pubsub.beacons.Go(func() {
		err := b.publisher.Publish(ctx, b.keys.Beacon(), "").Err()
		lag := time.Duration(0)
		if err != nil {
			lag = beaconLag
		}
		b.pubsub.lag.Store(int64(lag))
		b.reports.Failed("beacon", err)
	})
}
