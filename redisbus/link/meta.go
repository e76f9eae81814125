package link

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bounds of a message's, call's or task's meta.
const (
	// MaxMeta is the largest number of entries.
	MaxMeta = 16
	// MaxMetaBytes is the largest sum of the lengths of all keys and values.
	MaxMetaBytes = 1 << 10
)

// ErrMeta is wrapped by the errors of [ValidMeta].
var ErrMeta = errors.New("invalid meta")

// ValidMeta returns an [ErrMeta] unless m may be sent and stored as meta: at most
// [MaxMeta] entries and [MaxMetaBytes] bytes, keys of lower case letters, digits and
// any of "_ . -", values in UTF-8. A nil map is valid.
func ValidMeta(m map[string]string) error {
	if len(m) > MaxMeta {
		return fmt.Errorf("%w: %d entries: use at most %d", ErrMeta, len(m), MaxMeta)
	}
	size := 0
	for key, value := range m {
		if !validMetaKey(key) {
			return fmt.Errorf("%w: key %q: use lower case letters, digits and _ . -", ErrMeta, key)
		}
		if !utf8.ValidString(value) {
			return fmt.Errorf("%w: the value of %q is not UTF-8", ErrMeta, key)
		}
		size += len(key) + len(value)
	}
	if size > MaxMetaBytes {
		return fmt.Errorf("%w: keys and values of %d bytes: use at most %d", ErrMeta, size, MaxMetaBytes)
	}
	return nil
}

func validMetaKey(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return key != ""
}
