package link

import (
	"encoding/json"
	"fmt"

	"github.com/rs/zerolog"
)

const redacted = "[redacted]"

// Secret is a password or token. It prints as "[redacted]" through fmt (every
// verb), encoding/json and zerolog; only [Secret.Reveal] returns its text.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// IsZero reports whether no secret is set.
func (s Secret) IsZero() bool { return s == "" }

// String implements fmt.Stringer. An unset secret prints as nothing.
func (s Secret) String() string {
	if s == "" {
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

// MarshalZerologObject implements zerolog.LogObjectMarshaler.
func (s Secret) MarshalZerologObject(e *zerolog.Event) { e.Str("secret", s.String()) }
