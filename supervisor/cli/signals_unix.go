//go:build unix

package cli

import (
	"os"
	"syscall"
)

// orders maps the signals that operate a running set to their effects.
var orders = map[os.Signal]order{
	syscall.SIGHUP:  orderReload,
	syscall.SIGUSR1: orderUpgrade,
	syscall.SIGUSR2: orderRoll,
	syscall.SIGTTIN: orderMore,
	syscall.SIGTTOU: orderLess,
	syscall.SIGTSTP: orderQuiet,
	syscall.SIGCONT: orderResume,
}
