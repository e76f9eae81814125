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

// Sums are what is counted: newline bytes, runs of bytes between the white space
// of ASCII, and bytes.
type Sums struct {
	Lines int64 `json:"lines"`
	Words int64 `json:"words"`
	Bytes int64 `json:"bytes"`
}

func (s Sums) plus(o Sums) Sums {
	return Sums{s.Lines + o.Lines, s.Words + o.Words, s.Bytes + o.Bytes}
}

// Count counts until the end of r or of ctx.
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

// errNotRegular is a file that was regular when the tree was listed.
var errNotRegular = errors.New("no regular file any more")

// CountFile counts a regular file. The nodes and the direct count use it.
func CountFile(ctx context.Context, path string) (Sums, error) {
	// A pipe would make opening it wait: look before.
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

// gone reports whether the error says that there is nothing to count, so that
// another try would not help.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errNotRegular)
}

// headSize is how much of a file decides whether it is text, in bytes.
const headSize = 8 << 10

// isText looks at the head of a file.
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

// validUTF8 reports whether the text is valid; one that was cut may end within a
// character.
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
