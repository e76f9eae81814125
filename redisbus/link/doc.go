// Package link is the way to Redis: where it is, how it is dialled, what became
// of a command that failed, and the names of all keys and channels.
//
// Nothing else in the module dials Redis or builds a key name.
//
// # Connections
//
// A node has three: Client for the cache and everything a handler asks for,
// Subscriber for publish/subscribe, Tasks for claims and completions, so that
// handlers cannot starve the queue and a slow subscriber cannot starve either.
//
// # Outcomes
//
// After an error a command has run, has not run, or its outcome is unknown ([OutcomeOf]).
// go-redis would silently execute a command twice after a lost reply; its
// retries are off, and [Retry] repeats only what is safe to repeat. [Explain]
// gives users [ErrUnavailable], [ErrUnknownOutcome] or [ErrFull] with a sentence
// on the cause ([Cause]).
//
// # Scripts
//
// Whatever touches several keys is a [Script], which one function calls:
// [Script.Call] reads the one dialect of replies.
package link
