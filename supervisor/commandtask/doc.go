// Package commandtask runs programs as tasks, so that a queue can be worked off
// without writing Go. A run is one process:
//
//	standard input   the task's payload: the JSON as it was enqueued
//	standard output  the task's result, up to a bound
//	standard error   its end goes into the error of a run that failed
//	exit code 0      the task is done
//	exit code 65     (EX_DATAERR) the task is dead at once, without further attempts
//	exit code 75     (EX_TEMPFAIL) the task runs again after a while; it was no attempt
//	anything else    the run has failed: another attempt follows, up to the limit
//
// No shell is involved: the arguments reach the program as they are.
//
// # Environment
//
// The program inherits nothing but what [Options] names, so that secrets of the
// parent cannot reach it. It gets what the command is configured with, and
//
//	STELLAR_TASK_ID       the same in every run of the task: an idempotency key
//	STELLAR_TASK_NAME     the task's name
//	STELLAR_TASK_ATTEMPT  1 in the first run
//	STELLAR_TASK_FENCE    grows with every incarnation of a node
//	STELLAR_NODE          the id of the node that runs it
//
// # Its end
//
// The program is the leader of a process group of its own. At the task's timeout
// and when its node ends, the group gets SIGTERM, and SIGKILL after half of the
// node's grace time; whatever the exit code then is, the task is not done. When
// the program has ended by itself, what it left in its group is killed. A process
// that has moved to another group or session is not found, but nobody waits for
// it. On Linux the program also dies with the process that started it. Where
// there are no process groups the program alone is killed, without a warning, and
// children of it that hold its output are waited for.
//
// As with any handler, a program may be started again after a crash or a lost
// lease, while a process that outlived its node still runs.
package commandtask
