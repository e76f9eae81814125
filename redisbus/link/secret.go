package link

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"

	"github.com/rs/zerolog"
)

const redacted = "[redacted]"

// Secret is a password or token; the zero value is unset. It prints as "[redacted]" through
// fmt (every verb), encoding/json, encoding/gob and zerolog. Where a printer cannot call its
// methods, as fmt cannot for an unexported field, there is an address to see: only
// [Secret.Reveal] returns the text. Compare secrets with [Secret.Equal].
type Secret struct{ text *string }

// NewSecret returns the secret with that text, unset for "".
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the secret itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether no secret is set.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal reports whether both are the same text, or unset. The time that it takes tells of
// their lengths only.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Or returns the secret, or the other one if it is unset.
func (s Secret) Or(other Secret) Secret {
	if s.IsZero() {
		return other
	}
	return s
}

// String implements fmt.Stringer. An unset secret prints as nothing.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format implements fmt.Formatter, so that %#v, %q and %x cannot reveal it either.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// GobEncode implements gob.GobEncoder: nothing is encoded.
func (s Secret) GobEncode() ([]byte, error) { return []byte(s.String()), nil }

// GobDecode implements gob.GobDecoder. The secret is unset afterwards.
func (s *Secret) GobDecode([]byte) error {
	*s = Secret{}
	return nil
}

// MarshalZerologObject implements zerolog.LogObjectMarshaler.
func (s Secret) MarshalZerologObject(e *zerolog.Event) { e.Str("secret", s.String()) }
