package guard

import (
	"os"
	"runtime"
)

// starter does on one thread, which lasts as long as the guardian, what depends on the thread: the kernel
// tells a child of the guardian's end when the thread that started it ends.
type starter struct{ work chan func() }

func newStarter() *starter { return &starter{make(chan func())} }

// serve works until close is called, which has to be after the last child has ended.
func (s *starter) serve() {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	for do := range s.work {
		do()
	}
}

func (s *starter) close() { close(s.work) }

// start starts a child.
func (s *starter) start(path string, args []string, attr *os.ProcAttr) (p *os.Process, err error) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		p, err = os.StartProcess(path, args, attr)
	}
	<-done
	return p, err
}

// exec replaces the program of this process, see replaceProgram. It returns only if that failed.
func (s *starter) exec(path string, args, environment []string, files []int) (err error) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		err = replaceProgram(path, args, environment, files)
	}
	<-done
	return err
}
