package redistest

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// startWithParent starts a process that the kernel kills when this process ends, also
// when this process is killed. The kernel kills it when the thread that started it ends:
// so that thread is locked to a goroutine that never ends.
func startWithParent(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	result := make(chan error, 1)
	starter() <- start{cmd, result}
	return <-result
}

type start struct {
	cmd    *exec.Cmd
	result chan error
}

var starter = sync.OnceValue(func() chan<- start {
	c := make(chan start)
	go startAll(c)
	return c
})

func startAll(c <-chan start) {
	runtime.LockOSThread()
	for s := range c {
		s.result <- s.cmd.Start()
	}
}

// separate gives the process a session of its own: it outlives the signals of a terminal.
func separate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
