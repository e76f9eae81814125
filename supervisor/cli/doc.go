// Package cli is the command line of a program with tasks of its own: commands,
// flags, environment, configuration file, signals and exit codes.
//
// [Main] gives a program all commands of the binary stellar, under the program's own
// name and version. The name appears in help texts, errors and completion scripts. The
// environment variables (STELLAR_…), the default namespace and the directory for the
// sockets of embedded Redis servers are the same for all such programs. So the commands
// of any program, stellar included, reach the sets that another program runs in the
// same namespace.
//
// # Signals
//
//	TERM, INT   the first signal drains: running tasks have --drain to finish;
//	            the second signal cuts that time to one second; the third signal
//	            ends the process at once, with the exit code 128 plus the signal's
//	            number (130, 143); its tasks run again when the leases expire
//
// On Unix the signals HUP, USR2, TTIN, TTOU, TSTP and CONT operate a running set: see
// "run --help". All other signals have their usual effect.
//
// # Exit codes
//
//	0    a clean end
//	1    failure; for the demo also: the sums differ
//	2    usage: an unknown flag, command, method or task, an argument that is not
//	     JSON, an invalid value on the command line or in the environment
//	69   Redis is unavailable, or no running set was found
//	70   flapping: the nodes crashed again and again
//	75   drain deadline exceeded: handlers did not return
//	78   bad configuration: the file, a file with a secret, or settings that
//	     contradict each other
//	130  a command was interrupted before it was done; 143 by TERM
package cli
