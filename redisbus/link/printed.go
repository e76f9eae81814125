package link

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/rs/zerolog"
)

// plainConfig is a Config without its methods.
type plainConfig Config

// printable returns the configuration with the address instead of the URL.
func (c Config) printable() plainConfig {
	if c.URL != "" {
		c.URL = c.Address()
	}
	return plainConfig(c)
}

// String implements fmt.Stringer: the configuration without its secrets.
func (c Config) String() string { return fmt.Sprintf("%+v", c.printable()) }

// GoString implements fmt.GoStringer: the configuration without its secrets.
func (c Config) GoString() string { return fmt.Sprintf("%#v", c.printable()) }

// Format implements fmt.Formatter: every verb prints the configuration without its secrets.
func (c Config) Format(f fmt.State, verb rune) {
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), c.printable())
}

// MarshalJSON implements json.Marshaler: the configuration without its secrets, and without
// Dial.
func (c Config) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		plainConfig
		Dial any `json:",omitempty"`
	}{plainConfig: c.printable()})
}

// MarshalZerologObject implements zerolog.LogObjectMarshaler: the configuration without its
// secrets.
func (c Config) MarshalZerologObject(e *zerolog.Event) {
	e.Str("url", c.Address()).Str("namespace", c.withDefaults().Namespace).Str("user", c.Username)
}

// Sealed returns the same configuration with a URL without users and passwords: they are in
// the fields of their own. What keeps a configuration keeps it so, because a URL prints as it
// is.
func (c Config) Sealed() Config {
	p, ok := splitURL(c.URL)
	at, errUser := url.Parse("x://" + p.user + "@host")
	query, errQuery := url.ParseQuery(p.query)
	if !ok || errUser != nil || errQuery != nil {
		return c // it is no valid configuration
	}
	password, _ := at.User.Password()
	c.Username, c.Password = cmp.Or(c.Username, at.User.Username()), c.Password.Or(NewSecret(password))
	c.SentinelUsername = cmp.Or(c.SentinelUsername, query.Get(sentinelUser))
	c.SentinelPassword = c.SentinelPassword.Or(NewSecret(query.Get(sentinelPassword)))
	query.Del(sentinelUser)
	query.Del(sentinelPassword)
	p.query = query.Encode()
	c.URL = p.scheme + "://" + p.hosts + p.path
	if p.query != "" {
		c.URL += "?" + p.query
	}
	return c
}

// String returns the address alone: printing an endpoint reveals nothing.
func (e *endpoint) String() string {
	return strings.Join(append([]string{e.address()}, e.hosts...), " ")
}
