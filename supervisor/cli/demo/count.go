package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"
)

// Sums holds the counts of lines (newline bytes), words (runs of bytes without ASCII
// white space) and bytes.
type Sums struct {
	Lines int64 `json:"lines"`
	Words int64 `json:"words"`
	Bytes int64 `json:"bytes"`
}

func (s Sums) plus(o Sums) Sums {
	return Sums{s.Lines + o.Lines, s.Words + o.Words, s.Bytes + o.Bytes}
}

// Count counts the lines, words and bytes of r until its end. It returns an error if
// reading fails or ctx ends.
func Count(ctx context.Context, r io.Reader) (Sums, error) {
	var s Sums
	buffer := make([]byte, 64<<10)
	inWord := false
	for {
		if ctx.Err() != nil {
			return Sums{}, context.Cause(ctx)
		}
		n, err := r.Read(buffer)
		s.Bytes += int64(n)
		for _, c := range buffer[:n] {
			space := c == ' ' || c >= '\t' && c <= '\r'
			if c == '\n' {
				s.Lines++
			}
			if !space && !inWord {
				s.Words++
			}
			inWord = !space
		}
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return Sums{}, err
		}
	}
}

// errNotRegular reports that a file is no longer the regular file that was listed.
var errNotRegular = errors.New("no regular file any more")

// CountFile counts the lines, words and bytes of a regular file, for the nodes and for
// the direct count. It returns an error if the file is not regular or cannot be read.
func CountFile(ctx context.Context, path string) (Sums, error) {
	// Opening a pipe would block: check the type of the file first.
	info, err := os.Lstat(path)
	if err != nil {
		return Sums{}, err
	}
	if !info.Mode().IsRegular() {
		return Sums{}, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return Sums{}, err
	}
	defer f.Close()
	return Count(ctx, f)
}

// gone reports whether the error is permanent: the file does not exist, is not regular
// or may not be read, so that another attempt would fail too.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errNotRegular)
}

// headSize is how much of a file decides whether it is text, in bytes.
const headSize = 8 << 10

// isText reports whether the first bytes of a file, up to headSize, look like text.
func isText(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	head = head[:n]
	if bytes.IndexByte(head, 0) >= 0 {
		return false, nil
	}
	return validUTF8(head, n == headSize), nil
}

// validUTF8 reports whether head is valid UTF-8. If cut is true, the last character of
// head may be incomplete.
func validUTF8(head []byte, cut bool) bool {
	for n := 1; cut && n < utf8.UTFMax && n <= len(head); n++ {
		last := head[len(head)-n:]
		if !utf8.RuneStart(last[0]) {
			continue
		}
		if !utf8.FullRune(last) {
			head = head[:len(head)-n]
		}
		break
	}
	return utf8.Valid(head)
}
