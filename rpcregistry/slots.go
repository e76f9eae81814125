package rpcregistry

import "sync"

// maxControl is how many calls of control methods may run on a node at once.
const maxControl = 64

// slots bounds the calls that run. A caller may have no more calls than [callerShare] times
// the slots that are free: alone it gets three quarters of all, and there is always room for
// another caller. Control methods have slots of their own, so that a node whose slots are
// taken can still be asked, and stopped.
type slots struct {
	most int

	mu       sync.Mutex
	running  int
	byCaller map[string]int // by the caller's incarnation
}

const callerShare = 3

func newSlots(most int) *slots { return &slots{most: most, byCaller: map[string]int{}} }

// take takes a slot for a caller, or returns false.
func (s *slots) take(caller string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byCaller[caller] >= callerShare*(s.most-s.running) {
		return false
	}
	s.running++
	s.byCaller[caller]++
	return true
}

func (s *slots) leave(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.byCaller[caller]--; s.byCaller[caller] == 0 {
		delete(s.byCaller, caller)
	}
}

// Control returns a registrar whose methods are control methods (see [Method].Control).
func Control(r Registrar) Registrar { return control{r} } //nolint:ireturn // a registrar around another

type control struct{ Registrar }

func (c control) RegisterMethod(m Method) {
	m.Control = true
	c.Registrar.RegisterMethod(m)
}
