package redisbus

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Bounds of the memory about senders.
const (
	// window is how far a message's time may be from now: an older message could be a
	// replay whose number is already forgotten.
	window = time.Minute
	// forgetSoon is the least time for which a sender must be remembered: a
	// message may come a window early and be replayed until a window late.
	forgetSoon = 2*window + 10*time.Second
	// forgetLate applies while no more than fewPeers are known. The longer a
	// sender is remembered, the more of its losses are noticed.
	forgetLate = time.Hour
	fewPeers   = 256
	// maxPeers bounds the senders that are remembered, and the channels that a bus numbers its
	// messages on: about 4 MB.
	maxPeers = 8192
	// early is how long before a bus's first subscription a message may have been sent. An
	// older one was meant for others: whoever comes with it now has recorded it.
	early = 5 * time.Second
	// sealedWindow is how many sealed messages of one sender may arrive out of order.
	sealedWindow = 1024
)

// peers remembers the last sequence numbers of every sender. Messages of one
// sender on one channel arrive in the order of their numbers, so that one number
// per channel reveals both a replay and a gap. Sealed messages, which transactions
// publish when they commit, may arrive out of order: [seqWindow] remembers them.
type peers struct {
	seen  map[string]peer
	swept time.Time
	// forgotten is the latest time of a message whose sender had to be forgotten early,
	// because there are too many: older messages of unknown senders may be replays.
	forgotten time.Time
}

type peer struct {
	// name is the sender's incarnation, the same string as the key in peers.seen.
	name string
	// broadcast, bound and directed are the last numbers on the channel of all nodes, on the
	// inbox of this incarnation, and on inboxes that others have too.
	broadcast, bound, directed uint64
	sealed                     *seqWindow
	// heard is the time of the last message, in milliseconds on [clock.steady], sent the latest
	// time at which one was sent, on Redis's clock.
	heard, sent int64
}

func newPeers() *peers { return &peers{seen: map[string]peer{}} }

// intern returns the incarnation of a message as a string that all nodes of the
// process share: a thousand nodes that know a thousand senders hold each once.
func (p *peers) intern(incarnation []byte) (string, bool) {
	if known, ok := p.seen[string(incarnation)]; ok {
		return known.name, true
	}
	name := unique.Make(string(incarnation)).Value()
	id, life, lives := strings.Cut(name, "#")
	return name, link.ValidName(id) && (!lives || link.ValidName(life))
}

// admit reports whether the message is new, and how many messages of its sender
// on its channel were lost before it.
func (p *peers) admit(m *Message, now time.Time) (ok bool, lost uint64) {
	known, old := p.seen[m.Incarnation]
	if !old && !p.forgotten.IsZero() && !m.SentAt.After(p.forgotten) {
		return false, 0
	}
	switch {
	case m.Sealed:
		if known.sealed == nil {
			known.sealed = &seqWindow{}
		}
		ok = known.sealed.admit(m.Seq)
	case m.bound:
		ok, lost = advance(&known.bound, m.Seq)
	case m.Directed:
		ok, lost = advance(&known.directed, m.Seq)
	default:
		ok, lost = advance(&known.broadcast, m.Seq)
	}
	if ok || !old {
		known.name, known.heard, known.sent = m.Incarnation, now.UnixMilli(), max(known.sent, m.SentAt.UnixMilli())
		p.seen[m.Incarnation] = known
	}
	p.removeOld(now)
	return ok, lost
}

// minRestartJump is the least jump in a sender's numbers that is not counted as a loss:
// the sender had forgotten the channel and took the time as its next number (see
// [numbers]).
const minRestartJump = uint64(forgetLate/time.Microsecond) / 2

// advance reports whether seq is new, and how many numbers were skipped before it.
// A sender's first number says nothing about losses.
func advance(last *uint64, seq uint64) (ok bool, lost uint64) {
	if seq <= *last {
		return false, 0
	}
	if jump := seq - *last - 1; *last > 0 && jump < minRestartJump {
		lost = jump
	}
	*last = seq
	return true, lost
}

// forgetHalf forgets the half of the senders whose last messages are the oldest.
func (p *peers) forgetHalf() {
	times := make([]int64, 0, len(p.seen))
	for _, known := range p.seen {
		times = append(times, known.sent)
	}
	slices.Sort(times)
	last := times[len(times)/2]
	kept := make(map[string]peer, maxPeers/2)
	for name, known := range p.seen {
		if known.sent > last {
			kept[name] = known
		}
	}
	p.seen, p.forgotten = kept, time.UnixMilli(last)
}

func (p *peers) removeOld(now time.Time) {
	if len(p.seen) > maxPeers {
		p.forgetHalf()
	}
	if now.Sub(p.swept) < window {
		return
	}
	p.swept = now
	keep := forgetLate
	if len(p.seen) > fewPeers {
		keep = forgetSoon
	}
	kept := map[string]peer{}
	for name, known := range p.seen {
		if now.Sub(time.UnixMilli(known.heard)) <= keep {
			kept[name] = known
		}
	}
	if len(kept) < len(p.seen) {
		p.seen = kept // a map never shrinks
	}
}

// seqWindow remembers which of the last [sealedWindow] numbers were seen.
type seqWindow struct {
	top  uint64
	bits [sealedWindow / 64]uint64
}

func (s *seqWindow) admit(seq uint64) bool {
	if seq > s.top {
		for n := s.top + 1; n <= seq && n <= s.top+sealedWindow; n++ {
			s.bits[n%sealedWindow/64] &^= 1 << (n % 64)
		}
		if seq-s.top > sealedWindow {
			s.bits = [sealedWindow / 64]uint64{}
		}
		s.top = seq
	} else if s.top-seq >= sealedWindow || s.bits[seq%sealedWindow/64]&(1<<(seq%64)) != 0 {
		return false
	}
	s.bits[seq%sealedWindow/64] |= 1 << (seq % 64)
	return true
}

// numbers has the last sequence number that this bus gave out on each channel. A
// channel's first number is the time in microseconds, and above every number given out
// before on any channel. The time is that of [clock.steady]. So the bus can forget a channel that it has not used for long,
// and its next message there does not look like a replay.
type numbers struct {
	last  map[string]number
	top   uint64 // the greatest number given out on any channel
	swept time.Time
}

type number struct {
	seq  uint64
	used time.Time
}

func (n *numbers) next(channel string, now time.Time) uint64 {
	known, old := n.last[channel]
	if !old {
		n.removeOld(now)
		known.seq = max(uint64(max(now.UnixMicro(), 0)), n.top)
	}
	known.seq++
	known.used = now
	n.top = max(n.top, known.seq)
	n.last[channel] = known
	return known.seq
}

func (n *numbers) removeOld(now time.Time) {
	if n.last == nil {
		n.last = map[string]number{}
	}
	if len(n.last) >= maxPeers { // what comes next on them looks like a loss, at worst
		clear(n.last)
	}
	if len(n.last) < fewPeers || now.Sub(n.swept) < window {
		return
	}
	n.swept = now
	maps.DeleteFunc(n.last, func(_ string, known number) bool { return now.Sub(known.used) > forgetLate })
}
