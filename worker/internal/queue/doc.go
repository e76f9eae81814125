// Package queue is the protocol of the task queue on Redis: what is kept of a task
// ([Record], [Options], [Tries]), and the scripts, in lua, that change it. Package
// tasks is what programs use of it, package runner what nodes do with it.
//
// # Requests
//
//   - A [Producer] stores tasks in numbered batches.
//   - A [Session] claims tasks for one incarnation of a node and commits their ends,
//     both numbered.
//   - A [Store] runs everything that can be repeated without a number: it looks at
//     tasks and mends them, moves what is due, ticks, and takes over.
//
// The same number again gives the same answer, so that a request whose reply was
// lost is simply sent again. Two of a producer's batches may be on their way; the
// parts of one call are stored in their order. A claim or commit whose number Redis
// has forgotten means that Redis went back in time ([ErrRolledBack]): the incarnation
// ends, and the tasks in its hands run again.
//
// # Runs
//
// A [Run] is one run of a task's handler. It collects the effects of the handler's
// transaction, which a commit applies in one script with the end of the task; the
// handler's context leads to it ([RunOf]).
//
// # Tests
//
// The model (model_*_test.go) is the same protocol as a plain program in memory;
// random steps are taken on both and compared. Mutants (mutants_*_test.go) are known
// mistakes in the scripts, each of which the model must find.
package queue
