// Package timeline keeps what happened in a cluster: joins, crashes, take-overs, what operators
// did, deploys and the like. It is one Redis stream with at most [MaxEvents] events of the last
// [MaxAge].
//
// An event is written by the process that did or saw it. A [Recorder] queues the events of a
// process, folds those that repeat, and writes them a second later; while Redis is away they wait,
// and keep the time at which they happened. [Timeline] reads events, and writes those of
// programs that end soon.
package timeline
