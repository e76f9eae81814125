package ownredis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// errNoCommand reports bytes in an AOF that are no command.
var errNoCommand = errors.New("bytes that are no command")

// wholeCommands returns how many bytes of an AOF, from its beginning on, are whole commands, and of
// a transaction all of them. The error is that of the first other bytes: io.ErrUnexpectedEOF for an
// end in the middle, or errNoCommand; nil if there are none.
func wholeCommands(from io.Reader) (whole int64, err error) {
	r := &aofReader{Reader: bufio.NewReaderSize(from, 1<<20)}
	inTransaction := false
	for {
		name, err := r.command()
		switch {
		case errors.Is(err, io.EOF) && inTransaction:
			return whole, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return whole, nil
		case err != nil:
			return whole, err
		case strings.EqualFold(name, "MULTI"):
			inTransaction = true
		case strings.EqualFold(name, "EXEC"):
			inTransaction = false
		}
		if !inTransaction {
			whole = r.at
		}
	}
}

// aofReader reads the commands of an AOF.
type aofReader struct {
	*bufio.Reader

	at int64 // bytes read
}

// command reads a command, or an annotation, and returns its name, "" for an annotation. It returns
// io.EOF where nothing follows.
func (r *aofReader) command() (name string, err error) {
	first, err := r.Peek(1)
	if err != nil {
		return "", err
	}
	if first[0] == '#' {
		line, err := r.ReadString('\n')
		r.at += int64(len(line))
		return "", unexpected(err)
	}
	words, err := r.number('*')
	if err != nil {
		return "", err
	}
	for i := range words {
		n, err := r.number('$')
		if err != nil {
			return "", err
		}
		if i == 0 && n < 16 {
			text, err := r.Peek(int(n))
			if err != nil {
				return "", unexpected(err)
			}
			name = string(text)
		}
		if err := r.skip(n); err != nil {
			return "", err
		}
	}
	return name, nil
}

// mostNumber is the greatest length of a value.
const mostNumber = 1 << 30

// number reads a line with a number behind the mark.
func (r *aofReader) number(mark byte) (int64, error) {
	line, err := r.ReadSlice('\n')
	r.at += int64(len(line))
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		if len(line) > 0 && line[0] != mark {
			return 0, errNoCommand
		}
		return 0, unexpected(err)
	}
	digits, ok := strings.CutSuffix(string(line[:min(len(line), 32)]), "\r\n")
	if !ok || digits == "" || digits[0] != mark {
		return 0, errNoCommand
	}
	n, err := strconv.ParseInt(digits[1:], 10, 64)
	if err != nil || n < 0 || n > mostNumber {
		return 0, errNoCommand
	}
	return n, nil
}

// skip reads n bytes and the end of a line.
func (r *aofReader) skip(n int64) error {
	done, err := r.Discard(int(n))
	r.at += int64(done)
	if err != nil {
		return unexpected(err)
	}
	end := make([]byte, 2)
	got, err := io.ReadFull(r, end)
	r.at += int64(got)
	if err != nil {
		return unexpected(err)
	}
	if string(end) != "\r\n" {
		return errNoCommand
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// dataFiles returns the paths, relative to the directory, of the files with data that its next server
// would load, in the order of their commands. It returns none where no data is.
func (p place) dataFiles() ([]string, error) {
	if _, err := os.Lstat(p.file(aofFile)); err == nil {
		return []string{aofFile}, nil
	}
	manifest, err := os.ReadFile(p.file(p.manifest()))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var base, rest []string
	for line := range strings.Lines(string(manifest)) { // file NAME seq NUMBER type b|i|h
		words := strings.Fields(line)
		at := slices.Index(words, "type")
		if len(words) < 2 || words[0] != "file" || at < 0 || at+1 >= len(words) || strings.ContainsRune(words[1], filepath.Separator) {
			return nil, fmt.Errorf("%s: a line that is none of a manifest: %.100q", p.manifest(), line)
		}
		switch name := filepath.Join(aofDir, words[1]); words[at+1] {
		case "b":
			base = append(base, name)
		case "i":
			rest = append(rest, name)
		}
	}
	return append(base, rest...), nil
}

// manifest is the file that lists the files of an AOF, since Redis 7.
func (place) manifest() string { return filepath.Join(aofDir, aofFile+".manifest") }
