package embedded

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// The bounds of a request, which are Redis's own.
const (
	maxWords = 1 << 20   // of a request
	maxWord  = 512 << 20 // bytes (proto-max-bulk-len)
	maxLine  = 32        // bytes of a line that announces a length
)

var errNoRequest = errors.New("not a request in Redis's protocol")

// requestReader reads a client's requests, and fails at the first that is malformed:
// miniredis panics at an empty request or a negative length, and allocates whatever length is
// announced.
type requestReader struct {
	io.Reader

	line  []byte // the part that has come of a line that announces a length
	words int    // to come in this request
	bytes int    // to come of this word, with the end of its line
}

// Read implements [io.Reader].
func (r *requestReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if e := r.check(b[:n]); e != nil {
		return 0, e
	}
	return n, err
}

// check follows the requests through b, whose ends may lie anywhere in them.
func (r *requestReader) check(b []byte) error {
	for len(b) > 0 {
		if r.bytes > 0 {
			n := min(r.bytes, len(b))
			r.bytes -= n
			b = b[n:]
			continue
		}
		n := len(b)
		end := bytes.IndexByte(b, '\n')
		if end >= 0 {
			n = end + 1
		}
		if r.line = append(r.line, b[:min(n, maxLine+1)]...); len(r.line) > maxLine {
			return errNoRequest
		}
		b = b[n:]
		if end < 0 {
			continue
		}
		if err := r.announce(string(r.line)); err != nil {
			return err
		}
		r.line = r.line[:0]
	}
	return nil
}

// announce takes a line such as "*3\r\n", the words of a request, or "$5\r\n", the bytes of a
// word.
func (r *requestReader) announce(line string) error {
	kind, least, most := "*", 1, maxWords
	if r.words > 0 {
		kind, least, most = "$", 0, maxWord
	}
	digits, isKind := strings.CutPrefix(line, kind)
	digits, isLine := strings.CutSuffix(digits, "\r\n")
	n, err := strconv.Atoi(digits)
	if !isKind || !isLine || err != nil || n < least || n > most {
		return errNoRequest
	}
	if r.words == 0 {
		r.words = n
		return nil
	}
	r.words--
	r.bytes = n + len("\r\n")
	return nil
}
