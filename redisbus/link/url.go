package link

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// TLSFiles are the PEM files of TLS connections. The server's certificate is
// always verified.
type TLSFiles struct {
	// CA is the path of the certificates that may sign the server's certificate.
	// Default: those that the system trusts.
	CA string
	// Cert and Key are the paths of the client's certificate and its key, for a server
	// that asks for a certificate.
	Cert, Key string
}

// The values of endpoint.discovery: how the primary is found.
const (
	oneServer   = ""
	bySentinels = "sentinel"
	byCluster   = "cluster"
)

const urlForms = "use redis://host:6379/0, rediss://host:6379/0 (TLS), unix:///path/to/redis.sock, " +
	"redis+sentinel://host:26379,host:26379/primary/0 or redis+cluster://host:6379,host:6379"

// urlParts has the parts of a URL. net/url does not parse a list of hosts.
type urlParts struct{ scheme, user, hosts, path, query string }

func splitURL(text string) (p urlParts, ok bool) {
	p.scheme, text, ok = strings.Cut(text, "://")
	if i := strings.IndexAny(text, "/?#"); i >= 0 {
		text, p.path = text[:i], text[i:]
	}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		p.user, text = text[:i], text[i+1:]
	}
	p.hosts = text
	p.path, _, _ = strings.Cut(p.path, "#")
	p.path, p.query, _ = strings.Cut(p.path, "?")
	return p, ok && p.scheme != ""
}

// discovery splits a scheme such as "redis+sentinel" into its base, "redis", and the way in
// which the primary is found, "sentinel".
func (p urlParts) discovery() (base, way string) {
	base, way, _ = strings.Cut(p.scheme, "+")
	return base, way
}

// Address returns the address of Redis for people to read: the URL without user, password
// and query, "embedded" if Dial is set and URL is not, or "[redacted]" if the URL cannot
// be parsed.
func (c Config) Address() string {
	if c.Dial != nil && c.URL == "" {
		return "embedded"
	}
	p, ok := splitURL(c.URL)
	if _, err := url.Parse(p.scheme + "://x"); !ok || err != nil {
		return redacted
	}
	for host := range strings.SplitSeq(p.hosts, ",") {
		if _, err := url.Parse("x://" + host + p.path); err != nil {
			return redacted
		}
	}
	return p.scheme + "://" + p.hosts + p.path
}

// HoldsPassword reports whether the URL itself contains a password, which everybody sees
// who sees the URL.
func (c Config) HoldsPassword() bool {
	p, _ := splitURL(c.URL)
	_, password, _ := strings.Cut(p.user, ":")
	q, _ := url.ParseQuery(p.query)
	return password != "" || q.Get(sentinelPassword) != ""
}

// Members of the query that this package reads and the client library does not know.
const (
	sentinelUser     = "sentinel_user"
	sentinelPassword = "sentinel_password"
)

// endpoint returns the endpoint that the configuration describes. No error contains a secret.
func (c Config) endpoint() (*endpoint, error) {
	if c.Dial != nil && c.URL == "" {
		return c.complete(&endpoint{dialer: c.Dial})
	}
	if c.URL == "" {
		return nil, errors.New("redis URL is missing: " + urlForms)
	}
	at, err := c.locate()
	if err != nil {
		return nil, fmt.Errorf("redis URL %s: %w", c.Address(), err)
	}
	return c.complete(at)
}

// complete applies the fields of the configuration that win over the URL.
func (c Config) complete(at *endpoint) (*endpoint, error) {
	at.dialer, at.hooks = c.Dial, c.Hooks
	at.credentials = credentials{cmp.Or(c.Username, at.credentials.username), c.Password.Or(at.credentials.password)}
	at.sentinels = credentials{cmp.Or(c.SentinelUsername, at.sentinels.username), c.SentinelPassword.Or(at.sentinels.password)}
	at.files = TLSFiles{
		CA: cmp.Or(c.TLS.CA, at.files.CA), Cert: cmp.Or(c.TLS.Cert, at.files.Cert), Key: cmp.Or(c.TLS.Key, at.files.Key),
	}
	if at.files == (TLSFiles{}) {
		return at, nil
	}
	if at.tls == nil {
		return nil, errors.New("redis: there are files for TLS, but the URL does not ask for TLS: use rediss://")
	}
	return at, at.files.load(at.tls)
}

func (c Config) locate() (*endpoint, error) {
	p, ok := splitURL(c.URL)
	if !ok {
		return nil, errors.New("not a valid URL: " + urlForms)
	}
	query, err := url.ParseQuery(p.query)
	if err != nil {
		return nil, errors.New("not a valid query")
	}
	at := &endpoint{sentinels: credentials{query.Get(sentinelUser), NewSecret(query.Get(sentinelPassword))}}
	at.files = TLSFiles{CA: query.Get("ca"), Cert: query.Get("cert"), Key: query.Get("key")}
	for _, ours := range []string{"ca", "cert", "key", sentinelUser, sentinelPassword} {
		query.Del(ours)
	}
	base, way := p.discovery()
	if at.discovery = way; way != oneServer {
		if p, err = at.list(base, p); err != nil {
			return nil, err
		}
	} else if strings.Contains(p.hosts, ",") {
		return nil, errors.New("it has several hosts: " + urlForms)
	}
	rest := base + "://"
	if p.user != "" {
		rest += p.user + "@"
	}
	rest += p.hosts + p.path
	if len(query) > 0 {
		rest += "?" + query.Encode()
	}
	o, err := redis.ParseURL(rest)
	if err != nil {
		// The library's error may quote the URL, and with it the password.
		return nil, errors.New(harmless(err, rest, p.user) + ": " + urlForms)
	}
	if o.TLSConfig != nil && o.TLSConfig.InsecureSkipVerify {
		return nil, errors.New("skip_verify would accept any server: leave it out, and name the server's authority with ca=FILE or in TLS.CA")
	}
	at.network, at.addr, at.db = o.Network, o.Addr, o.DB
	at.credentials, at.tls = credentials{o.Username, NewSecret(o.Password)}, o.TLSConfig
	if at.tls != nil && way != oneServer {
		at.tls.ServerName = "" // the name of the host that is dialled
	}
	return at, nil
}

// list reads the hosts of a URL with several hosts, and the primary's name. It returns the
// parts of a URL with the first host alone, which the client library can parse.
func (e *endpoint) list(base string, p urlParts) (urlParts, error) {
	port := "6379"
	switch {
	case base != "redis" && base != "rediss":
		return p, errors.New("not a valid URL: " + urlForms)
	case e.discovery == bySentinels:
		port = "26379"
		name, db, _ := strings.Cut(strings.Trim(p.path, "/"), "/")
		if name == "" {
			return p, errors.New("it does not name the primary: use redis+sentinel://host:26379,host:26379/primary/0")
		}
		if e.primary = name; db != "" {
			db = "/" + db
		}
		p.path = db
	case e.discovery == byCluster:
		if db := strings.Trim(p.path, "/"); db != "" && db != "0" {
			return p, errors.New("a Redis Cluster has only database 0: leave it out")
		}
	default:
		return p, errors.New("not a valid URL: " + urlForms)
	}
	for host := range strings.SplitSeq(p.hosts, ",") {
		u, err := url.Parse("redis://" + host)
		if err != nil || u.Hostname() == "" || u.Host != host {
			return p, errors.New("not a list of hosts: use host:" + port + ",host:" + port)
		}
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), port)
		}
		e.hosts = append(e.hosts, host)
	}
	p.hosts = e.hosts[0]
	return p, nil
}

// harmless returns the error's text without the URL's secrets.
func harmless(err error, rest, user string) string {
	if parse, ok := errors.AsType[*url.Error](err); ok {
		err = parse.Err
	}
	text := err.Error()
	if strings.Contains(text, rest) || strings.Contains(text, "userinfo") || strings.Contains(text, "port") {
		return "not a valid URL"
	}
	if _, pass, has := strings.Cut(user, ":"); has && pass != "" {
		text = strings.ReplaceAll(text, pass, redacted)
	}
	return text
}

// maxPEM is the size of the largest file of certificates, in bytes; a system's authorities
// take a few hundred KiB.
const maxPEM = 8 << 20

// load reads the files into a TLS configuration.
func (f TLSFiles) load(to *tls.Config) error {
	var errs []error
	if f.CA != "" {
		text, err := ReadFile(f.CA, maxPEM)
		to.RootCAs = x509.NewCertPool()
		if err != nil {
			errs = append(errs, fmt.Errorf("redis: CA file: %w", err))
		} else if !to.RootCAs.AppendCertsFromPEM(text) {
			errs = append(errs, fmt.Errorf("redis: CA file %s: it holds no certificate in PEM", f.CA))
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		errs = append(errs, errors.New("redis: a certificate and its key go together: give both files or none"))
	} else if f.Cert != "" {
		cert, errCert := ReadFile(f.Cert, maxPEM)
		key, errKey := ReadFile(f.Key, maxPEM)
		err := cmp.Or(errCert, errKey)
		if err == nil {
			var pair tls.Certificate
			pair, err = tls.X509KeyPair(cert, key)
			to.Certificates = []tls.Certificate{pair}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("redis: certificate %s with key %s: %w", f.Cert, f.Key, err))
		}
	}
	return errors.Join(errs...)
}
