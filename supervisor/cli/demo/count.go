package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/stellarfw/stellar/redisbus/link"
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

// count counts the lines, words and bytes of the file as far as it reached when it was
// listed, for the nodes and for the direct count. It returns an error if the file is no
// longer regular or cannot be read.
func (f file) count(ctx context.Context) (Sums, error) {
	now, err := os.Lstat(f.path)
	if err != nil {
		return Sums{}, err
	}
	if !now.Mode().IsRegular() {
		return Sums{}, link.ErrNotRegular
	}
	opened, err := link.OpenRegular(f.path)
	if err != nil {
		return Sums{}, err
	}
	defer opened.Close()
	if is, err := opened.Stat(); err != nil || !os.SameFile(now, is) {
		return Sums{}, link.ErrNotRegular // a symbolic link has come in its place
	}
	return Count(ctx, io.LimitReader(opened, f.size)) // some files of /proc have no end
}

// gone reports whether the error is permanent: the file does not exist, is not regular
// or may not be read, so that another attempt would fail too.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, link.ErrNotRegular)
}

// headSize is how much of a file decides whether it is text, in bytes.
const headSize = 8 << 10

// isText reports whether the first bytes of a file, up to headSize, look like text.
func isText(path string) (bool, error) {
	f, err := link.OpenRegular(path)
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
