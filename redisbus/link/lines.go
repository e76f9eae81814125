package link

import (
	"bufio"
	"errors"
	"fmt"
)

// ErrLongLine is the error of a line that is longer than [ReadLine] was to read.
var ErrLongLine = errors.New("the line is too long")

// ReadLine returns the next line of up to most bytes, with its line break. At the end it returns what is
// left and io.EOF. The error is an [ErrLongLine] for a longer line: a file without lines must not
// fill the memory.
func ReadLine(r *bufio.Reader, most int) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrLongLine, most)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err //nolint:wrapcheck // of the reader, or io.EOF
		}
	}
}
