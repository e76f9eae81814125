package cluster

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
)

// ErrNoReader reports that standard output or standard error is a pipe whose reader has
// gone.
var ErrNoReader = errors.New("nobody reads the output any more")

// Stream is standard output or standard error.
type Stream struct {
	io.Writer

	// Gone is called after each write to a pipe whose reader has gone.
	Gone func()
}

// Unwrap returns the writer below the stream.
func (s *Stream) Unwrap() io.Writer { return s.Writer }

// Write implements io.Writer. It returns [ErrNoReader] if the stream is a pipe whose
// reader has gone.
func (s *Stream) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		s.Gone()
		err = ErrNoReader
	}
	return n, err
}

// lossy is the writer of a log: it counts the lines that cannot be written and drops them,
// so that neither a log shipper that ends nor a full disk disturbs the nodes.
type lossy struct {
	io.Writer
	lost *atomic.Int64
}

func (l lossy) Write(b []byte) (int, error) {
	if _, err := l.Writer.Write(b); err != nil {
		l.lost.Add(1)
	}
	return len(b), nil
}
