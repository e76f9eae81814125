// Package queue implements the protocol of the task queue on Redis: the stored form of a
// task ([Record], [Options], [Tries]) and the scripts, in lua, that change it. Package
// tasks is the API for programs; package runner claims and runs tasks on nodes.
//
// # Requests
//
//   - A [Producer] stores tasks in numbered batches.
//   - A [Session] claims tasks for one incarnation of a node and commits their ends,
//     both numbered.
//   - A [Store] runs the scripts that can be repeated without a number: they look up,
//     cancel, delete and retry tasks, move due tasks, enqueue periodic tasks, and take
//     over the tasks of ended incarnations.
//
// A repeated number gives the same answer, so a request whose reply was lost is sent
// again. Two batches of a producer may be in flight; the parts of one call are stored in
// their order. If Redis has forgotten the number of a claim or commit, it lost
// acknowledged writes ([ErrRolledBack]): the incarnation ends, and its tasks run again.
//
// # Indexes
//
// What a claim or a mover's look costs does not depend on how many queues there are. The key
// ready has every queue with tasks in a line, next has the time of each queue's first delayed
// task, and nodes of more than a few queues share stored lists of these (lua/serve.lua). An
// entry too many is removed when somebody meets it; an entry that is missing, as older
// versions make none, is found by the responsible mover, which visits all queues from time to
// time (lua/due.lua).
//
// # Flat scripts
//
// Redis makes all functions of a script anew at each call, which takes longer than the
// commands of a lone task. Plain work therefore goes through flat ones: lua/plain.lua at
// the beginning of the enqueues, and lua/work.lua, which commits tasks that are done and
// nothing more and takes the next claim along. What they do not know they leave to the
// scripts for all tasks, under the same numbers. The model runs both.
//
// The batches of a large call go through lua/bulk.lua, with ready records: the producer has read
// Redis's clock before, and put the time into them. A script would take longer to make 500
// records than to do all the rest.
//
// # Bodies
//
// A payload of more than a few kilobytes, the task's body, has a key of its own and goes through no
// script: lua/bodies.lua says how it comes and goes. A claim returns where the bodies are, and the
// session reads them. The payloads of periodic tasks, which are in their definitions, stay in the
// records.
//
// # Wakes
//
// Redis wakes somebody only when a task comes to a line that was empty: whoever comes for
// that task also takes those behind it, and has the next one woken when there are more than
// it asked for. Should the one that was woken have died, the hundredth task in the
// line wakes another, or the movers do so within seconds.
//
// # Runs
//
// A [Run] is one run of a task's handler. It collects the effects of the handler's
// transaction, which a commit applies in one script with the end of the task. [RunOf]
// finds the run in the handler's context.
//
// # Batches
//
// A batch is runs of one node whose handler is called once. Their tasks are in hand like others: the claim
// takes them beside those that it wants (see [Session.Gather]), each run has an outcome of its own, and
// those that are done can be joined, so that a commit ends all of them or none ([Run.Join]). Where a queue has a limit
// on how many of its tasks run at a time, the entries in owned say which share a place: lua/sharing.lua.
//
// # Tests
//
// The model (model_*_test.go) is the same protocol as a plain program in memory;
// random steps are taken on both and compared. Mutants (mutants_*_test.go) are known
// mistakes in the scripts, each of which the model must find.
package queue
