package otel

import (
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/worker"
)

// LockWait is how long a wait for a lock has to be for an event on the span of the caller.
const LockWait = 10 * time.Millisecond

// Locks is an observer that adds an event "lock" to the span of a caller who has waited for a lock of the cache
// for longer than [LockWait]. Give it to supervisor.Config.Observer, with others by [worker.Observers].
type Locks struct{ worker.Unobserved }

// LockWaited implements [worker.Observer].
func (Locks) LockWaited(l cache.LockTime) {
	span := trace.SpanFromContext(l.Context)
	if l.Took <= LockWait || !span.IsRecording() {
		return
	}
	attributes := trace.WithAttributes(keyLock.String(l.Key), keyLockWait.Float64(l.Took.Seconds()))
	if l.Err != nil {
		span.AddEvent("lock", attributes, trace.WithAttributes(errorType(typeOf(l.Err))))
		return
	}
	span.AddEvent("lock", attributes)
}
