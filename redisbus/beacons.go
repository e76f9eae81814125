package redisbus

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// beaconPause is how long a bus may hear nothing before it sends a beacon that
// every bus of the cluster hears. Up to half as much again it waits for somebody
// else's: of a thousand idle buses, one sends.
const beaconPause = 2 * time.Second

// beaconLag is how much longer a bus waits whose last beacon could not be sent: the
// others of its process go first.
const beaconLag = 250 * time.Millisecond

// Beacons is what the buses of one process share: one of them sends for all, and
// they look for silence at the same moments, so that a process at rest wakes once
// and not once for each.
type Beacons struct {
	mu           sync.Mutex
	silenceLimit time.Duration // how long all wait in silence
	sent         time.Time     // the last one of this process
}

// NewBeacons returns what the buses of one process share.
func NewBeacons() *Beacons { return &Beacons{silenceLimit: randomSilence()} }

func randomSilence() time.Duration {
	return beaconPause + rand.N(beaconPause/2) //nolint:gosec // jitter
}

// due reports whether a bus that has heard nothing for so long is to send a
// beacon now, and how long it can wait before it asks again. Should the one that
// sends be cut off, another one does before the others give up their connections.
func (s *Beacons) due(silence, lag time.Duration) (wait time.Duration, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait = s.silenceLimit + lag - silence; wait > 0 {
		return wait, false
	}
	if wait = beaconPause + lag - time.Since(s.sent); wait > 0 {
		return wait, false
	}
	s.sent, s.silenceLimit = time.Now(), randomSilence()
	return beaconPause, true
}

// sendBeacon makes something to hear.
func (b *Bus) sendBeacon(ctx context.Context) {
	b.pubsub.beacons.Go(func() {
		client, err := b.client(ctx)
		if err == nil {
			err = client.Publish(ctx, b.keys.Beacon(), "").Err()
		}
		lag := time.Duration(0)
		if err != nil {
			lag = beaconLag
		}
		b.pubsub.lag.Store(int64(lag))
		b.reports.Failed("beacon", err)
	})
}
