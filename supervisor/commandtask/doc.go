// Package commandtask runs programs as tasks, so that a queue can be worked off
// without writing Go. A run is one process:
//
//	standard input   the task's payload: the JSON as it was enqueued
//	standard output  the task's result, up to a bound
//	standard error   its last bytes go into the error of a run that failed
//	exit code 0      the task is done
//	exit code 65     (EX_DATAERR) the task is dead at once, without further attempts
//	exit code 75     (EX_TEMPFAIL) the task runs again after a while; it was no attempt
//	other codes      the run has failed: another attempt follows, up to the limit
//
// No shell is involved: the arguments reach the program as they are.
//
// # Environment
//
// The program inherits only the variables in [Options]. It also gets the variables of its
// [Command], HOME, USER and LOGNAME if it runs as another user, and
//
//	STELLAR_TASK_ID       the same in every run of the task: an idempotency key
//	STELLAR_TASK_NAME     the task's name
//	STELLAR_TASK_ATTEMPT  1 in the first run
//	STELLAR_TASK_FENCE    grows with every incarnation of a node
//	STELLAR_TASK_TICK     of a periodic task: when it was due, such as 2027-01-31T08:00:00Z
//	STELLAR_NODE          the id of the node that runs it
//
// # What a program can read
//
// A program that runs as the user of this process can read that user's files and connect to
// its sockets. On Linux it can also read this process's environment and memory in /proc, unless
// the process has closed them with PR_SET_DUMPABLE, as the command line does. A program of root
// can read them in any case. [Command.User] separates the program from all of that.
//
// # The end of a run
//
// The program is the leader of a process group of its own. At the task's timeout
// and when its node ends, the group gets SIGTERM, and SIGKILL after half of the
// node's grace time; whatever the exit code then is, the task is not done. When
// the program has ended by itself, the other processes in its group are killed. A process
// that has moved to another group or session is not killed, and the run does not wait for
// it. On Linux the program is also killed when the process that started it ends. On systems
// without process groups only the program itself is killed, without SIGTERM, and the run
// waits for children of the program that keep its output open.
//
// As with any handler, a program may be started again after a crash or a lost
// lease, while a process that outlived its node still runs.
package commandtask
