// Package flight batches the items of concurrent callers: items that arrive while a
// request is in flight are sent together in the next request. A lone caller never waits,
// and many callers share the cost of a round trip.
package flight

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
)

// ErrClosed is returned by [Queue.Wait] after [Queue.Close].
var ErrClosed = errors.New("closed")

// Limits bounds the flights of a [Queue].
type Limits struct {
	// Flights is how many requests may be in flight at once: while the server works on
	// one request, the next is written. At least 1.
	Flights int
	// Items and Bytes bound one flight, because all its callers wait for its end. An
	// item that is larger than Bytes is sent alone. At least 1.
	Items, Bytes int
}

// Queue gathers the items of concurrent callers. A caller first asks [Queue.Start]
// whether it may send its item by itself; if not, it passes the item to [Queue.Wait].
// Items are sent in the order of their arrival; flights may overtake each other.
type Queue[T any] struct {
	limits Limits
	size   func(T) int
	send   func(ctx context.Context, flight []Item[T])

	mu       sync.Mutex
	waiting  []Item[T]
	spare    []Item[T] // memory for the next items
	inFlight int       // how many flights have begun and not ended
	closed   bool
	drained  chan struct{} // closed when no flight is left; made by Close
}

// Item is a caller's value in a flight.
type Item[T any] struct {
	Value T
	bytes int
	done  chan struct{}
}

// New returns a queue. size returns the bytes of a value. send sends a flight and returns
// after it has stored the outcome of each item where the item's caller finds it, such as
// behind a pointer in the value; it must not keep the slice. Its context has the values of
// one of the callers' contexts and never ends.
func New[T any](l Limits, size func(T) int, send func(ctx context.Context, flight []Item[T])) *Queue[T] {
	return &Queue[T]{limits: l, size: size, send: send}
}

// Start reports whether another flight may begin. If so, it has begun: the caller sends
// its item on its own goroutine and then calls [Queue.End].
func (q *Queue[T]) Start() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.inFlight >= q.limits.Flights {
		return false
	}
	q.inFlight++
	return true
}

// End ends a flight that [Queue.Start] has begun. Items that wait meanwhile are sent next,
// on a goroutine of their own.
func (q *Queue[T]) End(ctx context.Context) {
	if flight := q.next(nil); flight != nil {
		go q.sendAll(context.WithoutCancel(ctx), flight)
	}
}

// Wait adds a value to the next flight and waits until that flight has been sent. When
// ctx ends first, the error is ctx's, and sent says whether the value was in flight
// already; if it was not, it is never sent. After [Queue.Close] the error is [ErrClosed].
func (q *Queue[T]) Wait(ctx context.Context, value T) (sent bool, err error) {
	item := Item[T]{Value: value, bytes: q.size(value), done: make(chan struct{})}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false, ErrClosed
	}
	q.waiting = append(q.waiting, item)
	free := q.inFlight < q.limits.Flights // a flight has ended since the caller asked
	if free {
		q.inFlight++
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

// withdraw removes an item from the queue. It returns false if the item is in flight.
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

// Close refuses new items, sends those that wait and returns when no flight is left. It
// may be called again, and by several goroutines.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	if q.drained == nil {
		q.drained = make(chan struct{})
		if q.inFlight == 0 {
			close(q.drained)
		}
	}
	landed := q.drained
	q.mu.Unlock()
	<-landed
}

// sendAll sends flight after flight until no item waits.
func (q *Queue[T]) sendAll(ctx context.Context, flight []Item[T]) {
	for ; flight != nil; flight = q.next(flight) {
		q.send(ctx, flight)
		for i := range flight {
			close(flight[i].done)
		}
		// The callers run first, so that what they ask for next comes along.
		runtime.Gosched()
	}
}

// next returns the items of the next flight, or ends the flight and returns nil when
// no item waits. sent has the items of the previous flight; next uses their memory again.
func (q *Queue[T]) next(sent []Item[T]) []Item[T] {
	clear(sent)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spare == nil && sent != nil {
		q.spare = sent[:0]
	}
	if len(q.waiting) == 0 {
		q.inFlight--
		if q.inFlight == 0 && q.drained != nil {
			close(q.drained)
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
