package guard

import (
	"os"
	"runtime"
)

// starter starts all children from one thread, which lasts as long as the guardian: the kernel
// tells a child of the guardian's end when the thread that started it ends.
type starter struct{ requests chan request }

type request struct {
	path    string
	args    []string
	attr    *os.ProcAttr
	started chan<- result
}

type result struct {
	process *os.Process
	err     error
}

func newStarter() *starter { return &starter{make(chan request)} }

// serve starts children until close is called, which has to be after the last of them has ended.
func (s *starter) serve() {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	for r := range s.requests {
		p, err := os.StartProcess(r.path, r.args, r.attr)
		r.started <- result{p, err}
	}
}

func (s *starter) close() { close(s.requests) }

func (s *starter) start(path string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	started := make(chan result, 1)
	s.requests <- request{path, args, attr, started}
	r := <-started
	return r.process, r.err
}
