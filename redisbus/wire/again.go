package wire

import "bytes"

// Again is [Members] for a part of a message that has been checked already, such
// as its body: it only finds the members. Data that was not checked gives
// unspecified members or [ErrSyntax].
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

// skipValue passes one value that is known to be well-formed and returns it.
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
