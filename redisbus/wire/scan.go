// Package wire reads and writes the JSON of cluster messages without building Go
// values from it. One pass checks everything that an attacker may put into a message
// (depth, the same key twice, broken text) and returns the members as raw bytes.
//
// encoding/json alone would not be safe: it matches member names without case, lets
// the last of two equal names win and descends as deep as the input says.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may be nested in one message.
const MaxDepth = 32

// Errors of [Members] and [Check].
var (
	// ErrSyntax: not JSON, or not the JSON object that was expected.
	ErrSyntax = errors.New("not valid JSON")
	// ErrDepth: nested deeper than [MaxDepth].
	ErrDepth = errors.New("JSON is nested too deeply")
	// ErrTwins: an object has the same key twice.
	ErrTwins = errors.New("JSON object has the same key twice")
)

// Members checks data, which must be one JSON object, and calls member for each
// of its members in order. key is the name without quotes and value the raw JSON, without
// white space around it; both point into data. Names at this level must be plain
// ASCII without escapes and differ also when case is ignored. After an error member is
// not called again, but it has been called for the members before the faulty place.
func Members(data []byte, member func(key, value []byte)) error {
	if !utf8.Valid(data) {
		return ErrSyntax
	}
	s := scanner{data: data}
	s.space()
	if s.peek() != '{' {
		return ErrSyntax
	}
	if err := s.object(1, member); err != nil {
		return err
	}
	return s.end()
}

// Check returns an error if data, one JSON value of any kind, would make a message invalid
// that contains it. outer is the number of levels of nesting around it in the message.
func Check(data []byte, outer int) error {
	if !utf8.Valid(data) {
		return ErrSyntax
	}
	s := scanner{data: data}
	s.space()
	if err := s.value(outer + 1); err != nil {
		return err
	}
	return s.end()
}

type scanner struct {
	data []byte
	at   int
}

func (s *scanner) end() error {
	s.space()
	if s.at != len(s.data) {
		return ErrSyntax
	}
	return nil
}

func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// value checks one value and moves behind it. depth is the value's depth if it is an array
// or object.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, _, err := s.text()
		return err
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth)
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	default:
		return ErrSyntax
	}
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.at < len(w) || string(s.data[s.at:s.at+len(w)]) != w {
		return ErrSyntax
	}
	s.at += len(w)
	return nil
}

func (s *scanner) array(depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	s.at++
	s.space()
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			return nil
		default:
			return ErrSyntax
		}
	}
}

// object checks an object and moves behind it. If member is not nil, the object is the
// message itself: its names must be plain, and distinct when case is ignored.
func (s *scanner) object(depth int, member func(key, value []byte)) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	s.at++
	s.space()
	if s.peek() == '}' {
		s.at++
		return nil
	}
	var seen keys
	for {
		s.space()
		key, plain, err := s.text()
		if err != nil {
			return err
		}
		if !seen.add(key, plain, member != nil) {
			return ErrTwins
		}
		if member != nil && !plain {
			return ErrSyntax
		}
		s.space()
		if s.peek() != ':' {
			return ErrSyntax
		}
		s.at++
		s.space()
		from := s.at
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if member != nil {
			member(key, s.data[from:s.at])
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			return nil
		default:
			return ErrSyntax
		}
	}
}

// text checks a string, moves behind it and returns the bytes between its quotes; plain
// says that they are ASCII without escapes.
func (s *scanner) text() (inner []byte, plain bool, err error) {
	if s.peek() != '"' {
		return nil, false, ErrSyntax
	}
	s.at++
	from := s.at
	plain = true
	for s.at < len(s.data) {
		switch c := s.data[s.at]; {
		case c == '"':
			inner = s.data[from:s.at]
			s.at++
			return inner, plain, nil
		case c == '\\':
			plain = false
			if !s.escape() {
				return nil, false, ErrSyntax
			}
		case c < 0x20:
			return nil, false, ErrSyntax
		case c >= utf8.RuneSelf:
			plain = false
			s.at++
		default:
			s.at += plainLength(s.data[s.at:])
		}
	}
	return nil, false, ErrSyntax
}

// plainLength returns how many bytes at the beginning of text may stand in a string as they
// are and are ASCII; it may stop sooner, but not before the first byte, which is one of them.
func plainLength(text []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(text)-n >= 8; n += 8 {
		eight := binary.LittleEndian.Uint64(text[n:])
		controls, quotes, slashes := eight-ones*0x20, eight^ones*'"', eight^ones*'\\'
		// A byte's top bit gets set where the byte is below the number that is subtracted, or
		// wrongly behind such a byte.
		if special := eight | controls | (quotes-ones)&^quotes | (slashes-ones)&^slashes; special&tops != 0 {
			break
		}
	}
	return max(n, 1)
}

func (s *scanner) escape() bool {
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return true
	case 'u':
		if len(s.data)-s.at < 5 {
			return false
		}
		for _, c := range s.data[s.at+1 : s.at+5] {
			if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
				return false
			}
		}
		s.at += 5
		return true
	default:
		return false
	}
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return ErrSyntax
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return ErrSyntax
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return ErrSyntax
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.at
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > from
}

// keys has the names seen so far in one object. The first few are compared one by one,
// which allocates nothing; an object with more names gets a set.
type keys struct {
	few  [8][]byte
	n    int
	many map[string]struct{}
}

// add returns false if the key was added before. plain is as returned by scanner.text;
// fold ignores case.
func (k *keys) add(key []byte, plain, fold bool) bool {
	if !fold && !plain && bytes.IndexByte(key, '\\') >= 0 {
		key = unescape(key)
	}
	if k.many != nil {
		return k.remember(key, fold)
	}
	for _, other := range k.few[:k.n] {
		if len(other) == len(key) && (bytes.Equal(other, key) || fold && bytes.EqualFold(other, key)) {
			return false
		}
	}
	if k.n < len(k.few) {
		k.few[k.n] = key
		k.n++
		return true
	}
	k.many = make(map[string]struct{}, 2*len(k.few))
	for _, other := range k.few {
		k.remember(other, fold)
	}
	return k.remember(key, fold)
}

func (k *keys) remember(key []byte, fold bool) bool {
	if fold {
		key = bytes.ToLower(key)
	}
	if _, twin := k.many[string(key)]; twin {
		return false
	}
	k.many[string(key)] = struct{}{}
	return true
}

// unescape returns the text of a string, given the bytes between its quotes, as
// encoding/json reads it.
func unescape(inner []byte) []byte {
	quoted := make([]byte, 0, len(inner)+2)
	quoted = append(append(append(quoted, '"'), inner...), '"')
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return inner
	}
	return []byte(text)
}
