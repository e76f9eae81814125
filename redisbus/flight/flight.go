// Package flight sends together what gathers while the last request is on its
// way: a lone caller waits for nothing, and many share the cost of a round trip.
package flight

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrClosed is what [Queue.Wait] ends with after [Queue.Close].
var ErrClosed = errors.New("closed")

// Limits bound what is sent at once.
type Limits struct {
	// Flights is how many requests may be on their way at once: while the other
	// side works on one, the next is written. At least 1.
	Flights int
	// Items and Bytes bound what goes with one flight, as all its callers wait for
	// its end. An item that is larger than Bytes goes alone. At least 1.
	Items, Bytes int
}

// Queue gathers the items of concurrent callers. Each caller first asks
// [Queue.Start] whether it may send its item by itself, and otherwise leaves it to
// [Queue.Wait]. Items are sent in the order of their arrival; flights may overtake
// each other.
type Queue[T any] struct {
	limits Limits
	size   func(T) int
	send   func(ctx context.Context, flight []Item[T])

	mu      sync.Mutex
	waiting []Item[T]
	spare   []Item[T] // room for the next items
	flying  int
	closed  bool
	landed  chan struct{} // closed when nothing is on its way; made by Close
}

// Item is a caller's value on its way.
type Item[T any] struct {
	Value T
	bytes int
	done  chan struct{}
}

// New returns a queue. size returns an item's bytes. send sends a flight and returns
// when the outcome of each of its items is noted where its caller finds it; it
// must not keep the slice. Its context is that of any of the callers, without its end.
func New[T any](l Limits, size func(T) int, send func(ctx context.Context, flight []Item[T])) *Queue[T] {
	return &Queue[T]{limits: l, size: size, send: send}
}

// Start reports whether there is room for another flight. It is the caller's then,
// to be sent on its own goroutine and ended by [Queue.End].
func (q *Queue[T]) Start() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.flying >= q.limits.Flights {
		return false
	}
	q.flying++
	return true
}

// End ends a flight that [Queue.Start] has allowed. What gathered meanwhile goes
// next, on a goroutine of its own.
func (q *Queue[T]) End(ctx context.Context) {
	if flight := q.next(nil); flight != nil {
		go q.fly(context.WithoutCancel(ctx), flight)
	}
}

// Wait adds an item to the next flight and waits until that was sent. When ctx ends
// before, the error is ctx's, and sent says whether the item was on its way
// already; it never will be otherwise. After [Queue.Close] the error is [ErrClosed].
func (q *Queue[T]) Wait(ctx context.Context, value T) (sent bool, err error) {
	item := Item[T]{Value: value, bytes: q.size(value), done: make(chan struct{})}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false, ErrClosed
	}
	q.waiting = append(q.waiting, item)
	free := q.flying < q.limits.Flights // a flight has ended since the caller asked
	if free {
		q.flying++
	}
	q.mu.Unlock()
	if free {
		q.End(ctx)
	}
	select {
	case <-item.done:
		return true, nil
	case <-ctx.Done():
		return !q.withdraw(item), ctx.Err()
	}
}

// withdraw takes an item out of the queue; false when it is on its way.
func (q *Queue[T]) withdraw(item Item[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.IndexFunc(q.waiting, func(other Item[T]) bool { return other.done == item.done })
	if at < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	return true
}

// Close refuses new items, sends the waiting ones and returns when nothing is on its
// way any more. It may be called again, and by several goroutines.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	if q.landed == nil {
		q.landed = make(chan struct{})
		if q.flying == 0 {
			close(q.landed)
		}
	}
	landed := q.landed
	q.mu.Unlock()
	<-landed
}

// fly sends flight after flight until no item waits.
func (q *Queue[T]) fly(ctx context.Context, flight []Item[T]) {
	for ; flight != nil; flight = q.next(flight) {
		q.send(ctx, flight)
		for i := range flight {
			close(flight[i].done)
		}
	}
}

// next returns the items of the next flight, or ends the flight and returns nil when
// no item waits. sent is the flight before, whose memory is used again.
func (q *Queue[T]) next(sent []Item[T]) []Item[T] {
	clear(sent)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spare == nil && sent != nil {
		q.spare = sent[:0]
	}
	if len(q.waiting) == 0 {
		q.flying--
		if q.flying == 0 && q.landed != nil {
			close(q.landed)
		}
		return nil
	}
	n, bytes := 0, 0
	for n < len(q.waiting) && n < q.limits.Items && (n == 0 || bytes+q.waiting[n].bytes <= q.limits.Bytes) {
		bytes += q.waiting[n].bytes
		n++
	}
	flight := q.waiting[:n:n]
	if n < len(q.waiting) {
		q.waiting = q.waiting[n:]
	} else {
		q.waiting, q.spare = q.spare, nil
	}
	return flight
}
