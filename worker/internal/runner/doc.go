// Package runner does the work of nodes and processes on the task queue. A [Runner]
// claims tasks for one incarnation of a node, runs their handlers and commits how
// they ended. A process has one [Mover], one [Ticker], which enqueues periodic tasks, and one
// [Solo] lane for tasks that may have ended a process. The mover of one process at a time brings delayed tasks to
// their queues.
package runner
