package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DefaultNamespace is the namespace, and the broadcast channel, of a [Config] that names none.
const DefaultNamespace = "stellar"

// Timeouts of every connection. A command that got no answer within ioTimeout has an
// unknown outcome: [ErrUnknownOutcome].
const (
	dialTimeout = time.Second
	ioTimeout   = 2 * time.Second
	poolTimeout = time.Second
)

// Config configures the connection to Redis, and how the nodes of one cluster recognise
// each other there.
type Config struct {
	// URL is one of
	//
	//	redis://[user:password@]host:port[/db]                      one server
	//	unix:///path/to/socket                                      one server on this machine
	//	redis+sentinel://[user:password@]host:port,…/primary[/db]   a primary that Sentinels watch
	//	redis+cluster://[user:password@]host:port,…                 a Redis Cluster
	//
	// with rediss in the place of redis for TLS. It may be empty only when Dial is
	// set. Its query may hold ca, cert and key (see TLS), and sentinel_user and
	// sentinel_password. Config prints without the secrets in it, the string itself does not.
	URL string

	// Username and Password win over those in the URL.
	Username string
	Password Secret

	// SentinelUsername and SentinelPassword are for the Sentinels themselves, and
	// win over those in the URL. Empty: the Sentinels need none.
	SentinelUsername string
	SentinelPassword Secret

	// TLS names the certificate files, for URLs with rediss.
	TLS TLSFiles

	// Dial, when set, opens every connection, and the address in URL is not used. It
	// connects to the embedded Redis, or through a proxy in a test.
	Dial func(ctx context.Context) (net.Conn, error)

	// Namespace separates clusters that share a Redis: the prefix of all keys
	// and channels. Letters, digits and ._- only. Default "stellar".
	Namespace string

	// Token authenticates the cluster's messages. It has to be strong, see
	// [Secret.Validate], except in the modes plain and both, where the token of nodes
	// of another implementation is taken as it is: see [Config.WeakTokens]. Without a token
	// the first node draws a random one and keeps it in Redis: then every program
	// that may read the namespace's keys belongs to the cluster.
	Token Secret
	// AlsoAccept is a second token that messages may be signed with, to change the
	// token of a running cluster: first every node accepts the new one as well,
	// then every node signs with it and still accepts the old one, then the old
	// one goes.
	AlsoAccept Secret
	// RequireToken makes a configuration without Token invalid.
	RequireToken bool
	// TokenMode says how messages prove that their sender knows the token. Default
	// [ModeHMAC].
	TokenMode Mode

	// Hooks see every command and every pipeline of the process's clients, with the time for which it
	// waits for a connection, and the dials: for metrics and traces. Commands of the bus itself, such as
	// the publishing of messages, do not pass them.
	Hooks []redis.Hook
}

func (c Config) withDefaults() Config {
	c.Namespace = cmp.Or(c.Namespace, DefaultNamespace)
	return c
}

// Validate reports everything that is wrong with the configuration at once. No
// error contains a password.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if _, err := c.endpoint(); err != nil {
		errs = append(errs, err)
	}
	if err := CheckNamespace(c.Namespace); err != nil {
		errs = append(errs, fmt.Errorf("namespace %w", err))
	}
	return errors.Join(append(errs, c.validateTokens())...)
}

// CheckNamespace returns an error for a text that cannot be a namespace, also for one with a
// colon: its channels could be those of another namespace.
func CheckNamespace(name string) error {
	switch {
	case !ValidName(name):
		return fmt.Errorf("%.220q: %w", name, ErrName)
	case strings.Contains(name, ":"):
		return fmt.Errorf("%q: with a colon its channels could be those of another namespace: use %q",
			name, strings.ReplaceAll(name, ":", "-"))
	}
	return nil
}

const chooseToken = "choose a secret of at least 16 bytes, or none to have one drawn"

func (c Config) validateTokens() error {
	switch c.TokenMode {
	case "", ModeHMAC, ModePlain, ModeBoth:
	default:
		return fmt.Errorf("token mode %q: use %s, %s or %s", c.TokenMode, ModeHMAC, ModePlain, ModeBoth)
	}
	if c.TokenMode.SharesToken() {
		return nil
	}
	return c.WeakTokens()
}

// WeakTokens returns the errors of tokens that somebody could guess. In the modes plain and
// both they are no error of [Config.Validate]: the token is that of other implementations.
func (c Config) WeakTokens() error {
	var errs []error
	for _, t := range []struct {
		name   string
		secret Secret
	}{{"token", c.Token}, {"token to accept as well", c.AlsoAccept}} {
		if err := t.secret.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w; %s", t.name, err, chooseToken))
		}
	}
	if c.RequireToken && c.Token.IsZero() {
		errs = append(errs, errors.New("a token is required, and none is set: choose a secret of at least 16 bytes"))
	}
	return errors.Join(errs...)
}

// Keys returns the names of the configured namespace in the configured database.
func (c Config) Keys() Keys {
	return NewKeys(c.withDefaults().Namespace).in(c.Database(), c.TokenMode == ModePlain || c.TokenMode == ModeBoth)
}

// Database returns the number of the configured database.
func (c Config) Database() int {
	at, err := c.endpoint()
	if err != nil {
		return 0
	}
	return at.db
}

// InCluster reports whether the server is one of a Redis Cluster.
func (c Config) InCluster() bool {
	at, err := c.endpoint()
	return err == nil && at.discovery == byCluster
}

// options returns the client options of one kind of connections. name is what CLIENT
// LIST shows, size how many requests may run at once, buffer the bytes of each of the
// two buffers of a socket.
func (e *endpoint) options(name string, size, buffer int) *redis.Options {
	return &redis.Options{
		Addr:                e.address(),
		Dialer:              e.dial,
		DB:                  e.db,
		CredentialsProvider: e.credentials.give,
		ClientName:          name,

		Protocol:              2,
		MaxRetries:            -1,
		ContextTimeoutEnabled: true,
		DialTimeout:           dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           ioTimeout,
		WriteTimeout:          ioTimeout,
		PoolTimeout:           poolTimeout,
		PoolSize:              poolPlaces * size,
		MaxActiveConns:        poolPlaces * size,
		PipelinePoolSize:      -1,
		ReadBufferSize:        buffer,
		WriteBufferSize:       buffer,
		DisableIdentity:       true,

		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}
