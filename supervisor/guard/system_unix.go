//go:build unix && !linux

package guard

import "syscall"

// Supported reports whether this system can run a guardian.
const Supported = true

// self is empty: this system has no name for the program that runs, apart from its path.
const self = ""

// Measures reports whether this system tells how much memory a process has.
const Measures = false

func residentMemory(int) int64 { return 0 }

// attributes makes a child the leader of a session, out of reach of the terminal's signals, which
// the guardian passes on.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// adopt does nothing: what the programs of a dead child leave behind belongs to the system.
func adopt() error { return nil }

func killSession(int) int { return 0 }

func reapOrphans(map[int]bool) map[int]bool { return nil }
