package redisbus

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// AnyType as the message type of a subscription stands for all of them, those of calls
// included.
const AnyType = "*"

// DefaultBuffer is the default of [SubscribeOptions.Buffer].
const DefaultBuffer = 1024

// maxWaitingBytes bounds the bodies of the messages that wait for one subscription.
const maxWaitingBytes = 8 << 20

// SubscribeOptions are the options of one subscription. The zero value has the
// defaults.
type SubscribeOptions struct {
	// Buffer is how many messages may wait while the handler is busy; a further one
	// pushes out the oldest. Default [DefaultBuffer].
	Buffer int
	// OnGap, when set, is called for lost messages: in order with the messages that
	// were not lost, and never at the same time as the handler.
	OnGap func(ctx context.Context, gap Gap)
	// Inline runs the handler on the goroutine that reads the connection, without
	// middleware: for a handler that only passes the message on and never blocks. No
	// message waits, so the subscription has no [GapOverflow].
	Inline bool
}

// Handler receives the messages of one subscription, one at a time and in the
// order in which each sender sent them. ctx ends when the bus stops. A panic of the
// handler is logged and ends only that call.
type Handler func(ctx context.Context, m Message)

// Subscription is a handler on its message type, until [Subscription.Close].
type Subscription struct {
	bus     *Bus
	kind    string
	handle  Handler
	options SubscribeOptions

	mu       sync.Mutex
	waiting  []item // the queue is waiting[head:]
	head     int
	bytes    int    // size of the queued bodies
	overflow uint64 // messages pushed out since the last GapOverflow
	working  bool   // a goroutine runs work
	closed   bool
}

// item is a message or, where gap is set, a gap.
type item struct {
	message Message
	gap     *Gap
}

// Close ends the subscription: the handler is not called again. It does not wait
// for a call that runs, so that a handler may close its own subscription.
func (s *Subscription) Close() {
	s.bus.forget(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.waiting, s.head, s.bytes = nil, 0, 0
}

// offer queues an item, or runs the handler of an Inline subscription. Queuing never blocks.
func (s *Subscription) offer(ctx context.Context, i item) {
	if i.gap != nil && s.options.OnGap == nil {
		return
	}
	if s.options.Inline {
		s.call(ctx, i)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.waiting = append(s.waiting, i)
	s.bytes += len(i.message.Body)
	for len(s.waiting)-s.head > s.options.Buffer || s.bytes > maxWaitingBytes && len(s.waiting)-s.head > 1 {
		s.pushOut()
	}
	if !s.working && s.bus.group.Enter(s.kind) {
		s.working = true
		go s.work(ctx)
	}
}

// pushOut drops the oldest item and counts its messages as lost.
func (s *Subscription) pushOut() {
	old := s.take()
	if old.gap != nil {
		s.overflow += old.gap.Lost
		return
	}
	s.overflow++
	s.bus.drops.count(DropOverflow)
}

func (s *Subscription) take() item {
	i := s.waiting[s.head]
	s.waiting[s.head] = item{}
	s.head++
	s.bytes -= len(i.message.Body)
	if s.head == len(s.waiting) {
		s.waiting, s.head = s.waiting[:0], 0
	} else if s.head >= 64 && 2*s.head >= len(s.waiting) {
		n := copy(s.waiting, s.waiting[s.head:])
		clear(s.waiting[n:])
		s.waiting, s.head = s.waiting[:n], 0
	}
	return i
}

// next returns the next item, or false if the worker is to end.
func (s *Subscription) next(ctx context.Context) (item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.overflow; n > 0 {
		s.overflow = 0
		if s.options.OnGap != nil {
			return item{gap: &Gap{Reason: GapOverflow, Lost: n}}, true
		}
	}
	if s.head == len(s.waiting) || s.closed || ctx.Err() != nil {
		s.working = false
		if cap(s.waiting) > 64 {
			s.waiting, s.head = nil, 0 // do not keep the memory of a burst
		}
		return item{}, false
	}
	return s.take(), true
}

// work calls the handler while messages wait. A handler that calls runtime.Goexit ends
// the goroutine of work: another goroutine then continues.
func (s *Subscription) work(ctx context.Context) {
	finished := false
	defer func() {
		if finished {
			s.bus.group.Leave(s.kind)
		} else {
			go s.work(ctx)
		}
	}()
	for {
		i, more := s.next(ctx)
		if !more {
			finished = true
			return
		}
		s.call(ctx, i)
	}
}

func (s *Subscription) call(ctx context.Context, i item) {
	returned := false
	defer func() {
		p := recover()
		if p == nil && returned {
			return
		}
		text := "runtime.Goexit"
		if p != nil {
			text = fmt.Sprint(p)
		}
		s.bus.log.Error().Str("messageType", s.kind).Str("panic", text).Bytes("stack", debug.Stack()).
			Msg("a subscription's handler panicked")
	}()
	if i.gap != nil {
		s.options.OnGap(ctx, *i.gap)
	} else {
		s.handle(ctx, i.message)
	}
	returned = true
}
