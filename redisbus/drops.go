package redisbus

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/wire"
)

// Drop is why a received message was not delivered.
type Drop string

// The reasons, in the order in which they are looked for.
const (
	DropSize      Drop = "size"      // larger than MaxMessage
	DropProof     Drop = "proof"     // no valid proof: forged, another token, or broken on the way
	DropSyntax    Drop = "syntax"    // not a JSON object
	DropDepth     Drop = "depth"     // nested deeper than wire.MaxDepth
	DropTwins     Drop = "twins"     // the same key twice
	DropMalformed Drop = "malformed" // lacks a field, or has one of the wrong kind
	DropStale     Drop = "stale"     // more than a minute from now
	DropReplay    Drop = "replay"    // was delivered before, or its turn is over
	DropOverflow  Drop = "overflow"  // a subscription did not keep up
)

// Drops are all reasons.
func Drops() []Drop {
	return []Drop{
		DropSize, DropProof, DropSyntax, DropDepth, DropTwins, DropMalformed, DropStale, DropReplay, DropOverflow,
	}
}

// dropLogPause is how often at most dropped messages are logged: who can
// publish garbage must not be able to fill a disk with it.
const dropLogPause = 10 * time.Second

func dropOf(err error) Drop {
	switch {
	case errors.Is(err, wire.ErrDepth):
		return DropDepth
	case errors.Is(err, wire.ErrTwins):
		return DropTwins
	default:
		return DropSyntax
	}
}

// drops counts dropped messages and logs one line for many.
type drops struct {
	log zerolog.Logger

	mu     sync.Mutex
	total  map[Drop]uint64
	logged map[Drop]uint64
	at     time.Time
}

func (d *drops) count(reason Drop, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.total == nil {
		d.total, d.logged = map[Drop]uint64{}, map[Drop]uint64{}
	}
	d.total[reason]++
	if now.Sub(d.at) < dropLogPause {
		return
	}
	d.at = now
	line := d.log.Warn()
	for _, r := range Drops() {
		if n := d.total[r] - d.logged[r]; n > 0 {
			line = line.Uint64(string(r), n)
			d.logged[r] = d.total[r]
		}
	}
	line.Msg("messages dropped")
}

func (d *drops) totals() map[Drop]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.total == nil {
		return map[Drop]uint64{}
	}
	return maps.Clone(d.total)
}
