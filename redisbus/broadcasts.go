package redisbus

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"github.com/stellarfw/stellar/redisbus/link"
)

const (
	// maxKept is the most bytes of a message that [Broadcasts] keep.
	maxKept = 1 << 10
	// keptBits is the binary logarithm of how many they keep at most: in a flood one bus may
	// be hundreds of messages ahead of another.
	keptBits = 11
)

// Broadcasts let the buses of a process verify and decode a message to all nodes once: the
// bus that comes first keeps it, and the others compare its bytes.
type Broadcasts struct {
	buses atomic.Int32 // that are served
	kept  [1 << keptBits]atomic.Pointer[broadcast]
}

// broadcast is a message whose proof has been verified. It is never changed.
type broadcast struct {
	provenBy *key
	channel  string
	data     []byte
	message  Message
}

// NewBroadcasts returns Broadcasts for [BusConfig].
func NewBroadcasts() *Broadcasts { return &Broadcasts{} }

// place returns where a message is kept, which its proof decides, or nil for a message that
// is not kept: it is too large, or no other bus could ask for it.
func (b *Broadcasts) place(data []byte) *atomic.Pointer[broadcast] {
	if len(data) < tailLength || len(data) > maxKept || b.buses.Load() < 2 {
		return nil
	}
	end := binary.LittleEndian.Uint64(data[len(data)-len(closing)-8:])
	// A proof is random, but each of its letters has 6 bits of 8: the multiplication mixes them.
	return &b.kept[end*0x9e3779b97f4a7c15>>(64-keptBits)]
}

// find returns the decoded message if one with these bytes was proven on this channel under
// a key that the prover accepts.
func (b *Broadcasts) find(p *prover, channel string, data []byte) (Message, bool) {
	place := b.place(data)
	if place == nil || p.mode == link.ModePlain {
		return Message{}, false
	}
	known := place.Load()
	if known == nil || !bytes.Equal(known.data, data) || known.channel != channel || !p.accepts(known.provenBy) {
		return Message{}, false
	}
	return known.message, true
}

// keep keeps a message for the other buses.
func (b *Broadcasts) keep(by *key, channel string, data []byte, m Message) {
	if place := b.place(data); place != nil {
		place.Store(&broadcast{provenBy: by, channel: channel, data: data, message: m})
	}
}
