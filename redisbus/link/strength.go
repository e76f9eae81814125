package link

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// ErrWeakSecret is the error of [Secret.Validate].
var ErrWeakSecret = errors.New("weak secret")

// minSecret and minDistinct are the fewest bytes of a secret, and the fewest different ones
// among them. A random number of 16 digits has fewer different ones once in 10,000 times.
const (
	minSecret   = 16
	minDistinct = 5
)

// Validate returns an [ErrWeakSecret] if somebody could guess the secret: it is short, an
// example from a manual, or repeats itself. It accepts an unset secret, and it does not
// replace a random one: most weak passwords are not recognised. The error does not contain
// the secret.
func (s Secret) Validate() error {
	text := s.Reveal()
	distinct := map[byte]bool{}
	for i := range len(text) {
		distinct[text[i]] = true
	}
	letters := strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
	switch {
	case text == "":
		return nil
	case strings.Contains(letters, "changeme"):
		return fmt.Errorf("%w: \"change-me\" is everybody's", ErrWeakSecret)
	case len(text) < minSecret:
		return fmt.Errorf("%w: %s", ErrWeakSecret, Count(len(text), "byte is too few", "bytes are too few"))
	case len(distinct) < minDistinct:
		return fmt.Errorf("%w: it has only %s", ErrWeakSecret, Count(len(distinct), "different character"))
	case repeats(text):
		return fmt.Errorf("%w: it repeats itself", ErrWeakSecret)
	}
	return nil
}

// repeats reports whether the text is a shorter one written twice or more often, the last
// time perhaps not to its end.
func repeats(text string) bool {
	for period := 1; period <= len(text)/2; period++ {
		if text[period:] == text[:len(text)-period] {
			return true
		}
	}
	return false
}
