// Package cli is the command line of a program with tasks of its own: commands,
// flags, environment, configuration file, signals and exit codes.
//
// [Main] gives a program everything that the binary stellar has, under the program's
// own name and version. What depends on the name: help texts, errors and the
// completion scripts. What does not: the environment variables (STELLAR_…), the
// default namespace, and the directory of the sockets of sets on the embedded Redis.
// So the commands of any such program, stellar among them, reach the sets of every
// other one in the same namespace.
//
// # Signals
//
//	TERM, INT   the first one drains: running tasks have --drain to finish;
//	            the second one cuts that to a second; with the third one the
//	            process is gone at once, with 128 and the signal's number as its
//	            exit code (130, 143): its nodes' tasks come back by lease
//
// Other signals do what the operating system makes of them.
//
// # Exit codes
//
//	0    a clean end
//	1    failure; of the demo also: the sums differ
//	2    usage: an unknown flag, command, method or task, arguments that are no
//	     JSON, a value on the command line or in the environment that cannot be
//	69   Redis is unavailable, or no running set was found
//	70   flapping: the nodes crashed again and again
//	75   drain deadline exceeded: handlers did not return
//	78   bad configuration: the file, a file with a secret, or settings that do
//	     not go together
//	130  a command was interrupted before it was done; 143 by TERM
package cli
