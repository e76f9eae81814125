package wire

import "bytes"

// Again calls member for each member of data, a JSON object that [Members] or [Check] has
// already checked as a part of a message, such as its body. For data that was not checked
// the members are unspecified, or the error is [ErrSyntax].
func Again(data []byte, member func(key, value []byte)) error {
	s := scanner{data: data}
	s.space()
	if s.peek() != '{' {
		return ErrSyntax
	}
	s.at++
	for s.space(); s.peek() != '}'; s.space() {
		if s.peek() == ',' {
			s.at++
			s.space()
		}
		key := s.skipValue()
		s.space()
		if len(key) < 2 || s.peek() != ':' {
			return ErrSyntax
		}
		s.at++
		s.space()
		value := s.skipValue()
		if len(value) == 0 {
			return ErrSyntax
		}
		member(key[1:len(key)-1], value)
	}
	return nil
}

// skipValue moves behind one value, which is known to be well-formed, and returns it.
func (s *scanner) skipValue() []byte {
	from := s.at
	for depth := 0; s.at < len(s.data); {
		switch s.data[s.at] {
		case '"':
			s.skipText()
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			if depth == 0 {
				return s.data[from:s.at]
			}
			depth--
			s.at++
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return s.data[from:s.at]
			}
			s.at++
			continue
		default:
			s.at++
			continue
		}
		if depth == 0 {
			return s.data[from:s.at]
		}
	}
	return s.data[from:s.at]
}

// skipText moves behind one string, which is known to be well-formed.
func (s *scanner) skipText() {
	for s.at++; s.at < len(s.data); s.at++ {
		end := bytes.IndexByte(s.data[s.at:], '"')
		if end < 0 {
			s.at = len(s.data)
			return
		}
		s.at += end
		escapes := 0
		for s.data[s.at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			s.at++
			return
		}
	}
}
