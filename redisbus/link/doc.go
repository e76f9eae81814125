// Package link connects to Redis: configuration, dialling, the outcomes of failed
// commands, and the names of all keys and channels.
//
// Nothing else in the module dials Redis or builds a key name.
//
// # Connections
//
// A node has three clients: Client for the cache and for the requests of handlers,
// Subscriber for publish/subscribe, and Tasks for claims and commits. So handlers cannot
// starve the task queue, and a slow subscriber can starve neither.
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
// Every operation on several keys is a [Script]. All scripts reply in one format, which
// [Script.Call] reads.
package link
