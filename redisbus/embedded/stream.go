package embedded

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// limits bound what the server has written to a client and the client has not read, as
// Redis's client-output-buffer-limit does. A client beyond them is cut.
type limits struct {
	// soft is how many bytes may be unread while the client has read nothing for patience,
	// hard how many at any time. 0: no bound. A client that reads a long reply must not be
	// cut because the server writes faster, nor because the machine is busy.
	soft, hard int
	patience   time.Duration
}

func defaultLimits() limits {
	return limits{soft: 32 << 20, hard: 256 << 20, patience: 5 * time.Second}
}

// errSlow is the error of a write to a client that does not read.
var errSlow = errors.New("the client does not read what it asked for")

// stream is one direction of a connection: bytes in memory between one writer and one
// reader. A write never waits for the reader. miniredis writes its replies while it holds
// the lock of the whole server, and a client may write a long pipeline of commands before
// it reads the first reply.
type stream struct {
	limits  limits
	changed chan struct{} // wakes the reader; of capacity 1
	cut     func()        // when set, ends the connection of a reader beyond the limits

	mu       sync.Mutex
	unread   blocks
	taken    time.Time // of the last read, or of the oldest byte that is unread
	watched  bool      // a timer will look whether the reader is beyond the limits
	ended    bool
	deadline time.Time // of reads
}

func newStream(l limits) *stream {
	return &stream{limits: l, changed: make(chan struct{}, 1)}
}

// Write appends b. Its error is [io.ErrClosedPipe], or errSlow if that ends the stream.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return 0, io.ErrClosedPipe
	case s.isBeyond():
		s.unread = blocks{}
		s.end()
		return 0, errSlow
	case s.unread.size == 0:
		s.taken = time.Now()
	}
	s.unread.write(b)
	s.watch()
	s.wake()
	return len(b), nil
}

// watch has the stream looked at once the reader may be beyond the limits: nothing more may
// be written to a client that does not read. The caller holds s.mu.
func (s *stream) watch() {
	if s.watched || s.limits.hard == 0 || s.unread.size <= s.limits.soft {
		return
	}
	s.watched = true
	time.AfterFunc(s.limits.patience-time.Since(s.taken)+time.Millisecond, s.look)
}

// look ends the stream and its connection if the reader is beyond the limits.
func (s *stream) look() {
	s.mu.Lock()
	s.watched = false
	beyond := !s.ended && s.isBeyond()
	if beyond {
		s.unread = blocks{}
		s.end()
	} else if !s.ended {
		s.watch()
	}
	s.mu.Unlock()
	if beyond && s.cut != nil {
		s.cut()
	}
}

// isBeyond reports whether the reader is beyond the limits.
func (s *stream) isBeyond() bool {
	n, l := s.unread.size, s.limits
	return l.hard > 0 && (n > l.hard || n > l.soft && time.Since(s.taken) > l.patience)
}

// Read waits for bytes. After the stream's end it returns the bytes that are left, then
// [io.EOF].
func (s *stream) Read(b []byte) (int, error) {
	for {
		n, deadline, err := s.take(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		if deadline.IsZero() {
			<-s.changed
			continue
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-s.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take returns bytes that are there, or the error of the stream, or the deadline until which
// the reader is to wait.
func (s *stream) take(b []byte) (n int, deadline time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
		return 0, s.deadline, os.ErrDeadlineExceeded
	case s.unread.size > 0:
		n = s.unread.take(b)
		s.taken = time.Now()
		return n, s.deadline, nil
	case s.ended:
		return 0, s.deadline, io.EOF
	default:
		return 0, s.deadline, nil
	}
}

func (s *stream) setDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	s.wake()
}

// Close ends the stream.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return nil
}

func (s *stream) end() {
	s.ended = true
	s.wake()
}

func (s *stream) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
