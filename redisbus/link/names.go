package link

import (
	"errors"
	"fmt"
	"strings"
)

// ErrName is wrapped by the errors of [CheckName].
var ErrName = errors.New("use 1 to 200 letters, digits and . _ : -")

// CheckName returns an [ErrName] unless [ValidName] allows the name. what names the kind
// of name in the error's text, such as "node id".
func CheckName(what, name string) error {
	if !ValidName(name) {
		return fmt.Errorf("%s %.220q: %w", what, name, ErrName)
	}
	return nil
}

// ValidName reports whether s may name a node, a message type, a method, a queue
// or a task: 1 to 200 letters, digits and any of ". _ : -".
func ValidName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= 200
}

// NodeOf returns the node id in an incarnation.
func NodeOf(incarnation string) string {
	if i := strings.LastIndexByte(incarnation, '#'); i >= 0 {
		return incarnation[:i]
	}
	return incarnation
}
