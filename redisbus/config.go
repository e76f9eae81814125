package redisbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DefaultNamespace is the namespace, and the broadcast channel, of a [Config] that names none.
const DefaultNamespace = "stellar"

// Timeouts of every connection. A command that got no answer by then has an
// unknown outcome: [ErrUnknownOutcome].
const (
	dialTimeout = time.Second
	ioTimeout   = 2 * time.Second
	poolTimeout = time.Second
)

// Config says where Redis is and how the nodes of one cluster recognise each
// other there.
type Config struct {
	// URL is redis://[user:password@]host:port[/db], rediss:// for TLS, or
	// unix:///path/to/socket. It may be empty only when Dial is set.
	URL string

	// Username and Password win over those in the URL.
	Username string
	Password Secret

	// Dial, when set, opens every connection instead of the address in URL:
	// the embedded Redis, or a proxy in a test.
	Dial func(ctx context.Context) (net.Conn, error)

	// Namespace separates clusters that share a Redis: the prefix of all keys
	// and channels. Letters, digits and ._:- only. Default "stellar".
	Namespace string

	// Token authenticates the cluster's messages, at least 16 bytes. Without
	// one, the first node draws a random token and keeps it in Redis: then
	// whoever may read the namespace's keys belongs to the cluster.
	Token Secret
	// AlsoAccept is a second token that messages may be signed with, to change the
	// token of a running cluster: first every node accepts the new one as well,
	// then every node signs with it and still accepts the old one, then the old
	// one goes.
	AlsoAccept Secret
	// TokenMode says how messages prove that their sender knows the token. Default
	// [ModeHMAC].
	TokenMode Mode
}

func (c Config) withDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = DefaultNamespace
	}
	return c
}

// Validate reports everything that is wrong with the configuration at once. No
// error contains a password.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Dial == nil {
		if _, err := c.parse(); err != nil {
			errs = append(errs, err)
		}
	}
	if !ValidName(c.Namespace) {
		errs = append(errs, fmt.Errorf("namespace %q: use 1 to 200 letters, digits and . _ : -", c.Namespace))
	}
	return errors.Join(append(errs, c.validateTokens())...)
}

const chooseToken = "choose a secret of at least 16 bytes, or none to have one drawn"

func (c Config) validateTokens() error {
	var errs []error
	for _, t := range []struct {
		name   string
		secret Secret
	}{{"token", c.Token}, {"token to accept as well", c.AlsoAccept}} {
		if text := t.secret.Reveal(); text == "change-me" {
			errs = append(errs, fmt.Errorf("%s: \"change-me\" is everybody's; %s", t.name, chooseToken))
		} else if text != "" && len(text) < 16 {
			errs = append(errs, fmt.Errorf("%s: %d bytes are too few; %s", t.name, len(text), chooseToken))
		}
	}
	switch c.TokenMode {
	case "", ModeHMAC, ModePlain, ModeBoth:
	default:
		errs = append(errs, fmt.Errorf("token mode %q: use %s, %s or %s", c.TokenMode, ModeHMAC, ModePlain, ModeBoth))
	}
	return errors.Join(errs...)
}

// Bus returns the part of a bus's configuration that is the cluster's; token is
// what [Token] returned for this configuration.
func (c Config) Bus(token Secret) BusConfig {
	return BusConfig{
		Keys: c.Keys(), Token: token, TokenKept: c.Token.IsZero(), AlsoAccept: c.AlsoAccept, Mode: c.TokenMode,
	}
}

// Keys returns the names of the configured namespace.
func (c Config) Keys() Keys { return NewKeys(c.withDefaults().Namespace) }

// Address is where Redis is, for people to read: without user, password and
// query. It is "embedded" where connections are dialled in process.
func (c Config) Address() string {
	if c.Dial != nil && c.URL == "" {
		return "embedded"
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme == "" {
		return redacted
	}
	return u.Scheme + "://" + u.Host + u.Path
}

func (c Config) parse() (*redis.Options, error) {
	if c.URL == "" {
		return nil, errors.New("redis URL is missing: use redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/redis.sock")
	}
	o, err := redis.ParseURL(c.URL)
	if err != nil {
		// The library's error may quote the URL, and with it the password.
		return nil, fmt.Errorf("redis URL %s: %s: use redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/redis.sock",
			c.Address(), c.harmless(err))
	}
	return o, nil
}

// harmless returns the error's text without the URL's secrets.
func (c Config) harmless(err error) string {
	if parse, ok := errors.AsType[*url.Error](err); ok {
		err = parse.Err
	}
	text := err.Error()
	if strings.Contains(text, c.URL) || strings.Contains(text, "userinfo") || strings.Contains(text, "port") {
		return "not a valid URL"
	}
	if u, perr := url.Parse(c.URL); perr == nil {
		if pass, ok := u.User.Password(); ok && pass != "" {
			text = strings.ReplaceAll(text, pass, redacted)
		}
	}
	return text
}

// options are those of one connection kind. name is what CLIENT LIST shows,
// size the most sockets it may open, buffer the bytes to read and to write ahead.
func (c Config) options(name string, size, buffer int) (*redis.UniversalOptions, error) {
	o := &redis.Options{}
	if c.URL != "" || c.Dial == nil {
		parsed, err := c.parse()
		if err != nil {
			return nil, err
		}
		o = parsed
	}
	u := &redis.UniversalOptions{
		Addrs:      []string{o.Addr},
		DB:         o.DB,
		Username:   o.Username,
		Password:   o.Password,
		TLSConfig:  o.TLSConfig,
		ClientName: name,

		Protocol:              2,
		MaxRetries:            -1,
		ContextTimeoutEnabled: true,
		DialTimeout:           dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           ioTimeout,
		WriteTimeout:          ioTimeout,
		PoolTimeout:           poolTimeout,
		PoolSize:              size,
		MaxActiveConns:        size,
		PipelinePoolSize:      -1,
		ReadBufferSize:        buffer,
		WriteBufferSize:       buffer,
		DisableIdentity:       true,

		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Username != "" {
		u.Username = c.Username
	}
	if !c.Password.IsZero() {
		u.Password = c.Password.Reveal()
	}
	if c.Dial != nil {
		u.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) }
	}
	return u, nil
}
