package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// GroupRedis is the heading of the flags for Redis in help texts.
const GroupRedis = "Redis"

// Flags that give the address of Redis: a URL, or a host, a port and a database.
const (
	redisURLFlag  = "redis-url"
	redisHostFlag = "redis-host"
	redisPortFlag = "redis-port"
	redisDBFlag   = "redis-db"
	redisCAFlag   = "redis-ca-file"
	redisCertFlag = "redis-cert-file"
	redisKeyFlag  = "redis-key-file"
)

// redisPort is the variable of --redis-port. Kubernetes sets it for its own purposes.
const redisPort = "REDIS_PORT"

// redisKey is the variable of a secret that is in a file only, without _FILE.
const redisKey = "REDIS_KEY"

// connection holds the address and the credentials of Redis, the socket of a running
// set, and the token that proves that a message comes from a node of the cluster.
type connection struct {
	Namespace, Socket              string
	redisURL, redisHost, redisUser string
	redisPort, redisDB             int
	redisPassFile, tokenFile       string
	redisCA, redisCert, redisKey   string
	sentinelUser, sentinelPassFile string
	alsoFile, tokenMode            string
	requireToken                   bool
}

// ConnectFlags returns the flags for the address of Redis or of a running set, and
// for the credentials.
func (s *Settings) ConnectFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{
			Name: redisURLFlag, Category: GroupRedis, Destination: &s.redisURL, Sources: s.from(redisURLFlag, "REDIS_URL"),
			Usage: "`URL` of Redis: redis://host:6379/0, unix:///path/to/socket, redis+sentinel://host:26379,…/primary/0 " +
				"or redis+cluster://host:6379,…; rediss instead of redis for TLS",
		},
		&urfave.StringFlag{
			Name: redisHostFlag, Category: GroupRedis, Destination: &s.redisHost, Sources: s.from(redisHostFlag, "REDIS_HOST"),
			Usage: "`HOST` of Redis, instead of a URL", DefaultText: "127.0.0.1 if any of the next two is given",
		},
		&urfave.IntFlag{
			Name: redisPortFlag, Category: GroupRedis, Config: Decimal(), Value: 6379, Destination: &s.redisPort,
			Sources: s.from(redisPortFlag, redisPort),
			Usage:   "`PORT` of Redis",
		},
		&urfave.IntFlag{
			Name: redisDBFlag, Category: GroupRedis, Config: Decimal(), Destination: &s.redisDB, Sources: s.from(redisDBFlag, "REDIS_DB"),
			Usage: "number of the Redis database (`N`)",
		},
		&urfave.StringFlag{
			Name: "redis-user", Category: GroupRedis, Destination: &s.redisUser, Sources: s.from("redis-user", "REDIS_USER"),
			Usage: "`USER` of Redis",
		},
		s.fileFlag(GroupRedis, "redis-pass-file", "REDIS_PASS_FILE", &s.redisPassFile,
			"`FILE` with the password of Redis, instead of REDIS_PASS"),
		s.fileFlag(GroupRedis, redisCAFlag, "REDIS_CA_FILE", &s.redisCA,
			"`FILE` in PEM with the authorities that may sign Redis's certificate (default: the system's)"),
		s.fileFlag(GroupRedis, redisCertFlag, "REDIS_CERT_FILE", &s.redisCert,
			"`FILE` in PEM with the certificate to show to Redis"),
		s.fileFlag(GroupRedis, redisKeyFlag, "REDIS_KEY_FILE", &s.redisKey,
			"`FILE` in PEM with that certificate's key"),
		&urfave.StringFlag{
			Name: "redis-sentinel-user", Category: GroupRedis, Destination: &s.sentinelUser,
			Sources: s.from("redis-sentinel-user", "REDIS_SENTINEL_USER"), Usage: "`USER` of the Sentinels themselves",
		},
		s.fileFlag(GroupRedis, "redis-sentinel-pass-file", "REDIS_SENTINEL_PASS_FILE", &s.sentinelPassFile,
			"`FILE` with the password of the Sentinels themselves, instead of REDIS_SENTINEL_PASS"),
		s.fileFlag(GroupRedis, "token-file", "STELLAR_TOKEN_FILE", &s.tokenFile,
			"`FILE` with the cluster's token, instead of STELLAR_TOKEN (default: one is drawn and kept in Redis)"),
		s.fileFlag(GroupRedis, "token-also-file", "STELLAR_TOKEN_ALSO_FILE", &s.alsoFile,
			"`FILE` with a second token to accept, instead of STELLAR_TOKEN_ALSO: to change the token of a running cluster"),
		&urfave.BoolFlag{
			Name: "require-token", Category: GroupRedis, Destination: &s.requireToken, Sources: s.from("require-token", "STELLAR_REQUIRE_TOKEN"),
			Usage: "refuse to work without a token of one's own",
		},
		&urfave.StringFlag{
			Name: "token-mode", Category: GroupRedis, Value: string(link.ModeHMAC), Destination: &s.tokenMode,
			Sources: s.from("token-mode", "STELLAR_TOKEN_MODE"),
			Usage:   "`MODE` of proof that a message's sender knows the token: hmac, plain (the token itself, as the original does) or both",
		},
		&urfave.StringFlag{
			Name: "namespace", Category: GroupRedis, Value: link.DefaultNamespace, Destination: &s.Namespace,
			Sources: s.from("namespace", "STELLAR_NAMESPACE"), Usage: "`NAME` that separates clusters on the same Redis",
		},
		s.DataFlag(),
		s.fileFlag(GroupRedis, "socket", "STELLAR_SOCKET", &s.Socket,
			"`FILE` through which commands reach a set on the embedded Redis (default: one in the user's run-time directory)"),
	}
}

func (s *Settings) checkConnection(require requirement) {
	wrong := link.CheckNamespace(s.Namespace)
	require("namespace", wrong == nil, "%w", wrong)
	require(redisPortFlag, s.redisPort >= 1 && s.redisPort <= 65535, "%d is not between 1 and 65535", s.redisPort)
	require(redisDBFlag, s.redisDB >= 0, "%d is negative", s.redisDB)
}

// MaxSocketPath is the length of the longest permitted socket path, in bytes. It leaves
// room below the system's limit for the temporary name under which the socket is made.
const MaxSocketPath = 100

// checkSocket returns an error if no socket can be made at the path of --socket.
func (s *Settings) checkSocket() error {
	if s.Socket == "" {
		return nil
	}
	where := s.Origin("socket").Where
	if len(s.Socket) > MaxSocketPath {
		return Invalidf("%s: the path is longer than %d bytes: choose a shorter one", where, MaxSocketPath)
	}
	if info, err := os.Stat(filepath.Dir(s.Socket)); err != nil {
		return Invalidf("%s: %s: %w", where, s.Socket, service.WithoutPath(err))
	} else if !info.IsDir() {
		return Invalidf("%s: %s: %s is not a directory", where, s.Socket, filepath.Dir(s.Socket))
	}
	return nil
}

// Redis returns the configuration of the connection to Redis. configured is false if
// no setting gives an address; it may be that of the server on the directory [Settings.Data]. The error joins all problems found.
func (s *Settings) Redis() (cfg link.Config, configured bool, err error) {
	cfg = link.Config{
		Username: s.redisUser, SentinelUsername: s.sentinelUser,
		TLS: link.TLSFiles{CA: s.redisCA, Cert: s.redisCert, Key: s.redisKey}, TokenMode: link.Mode(s.tokenMode),
		RequireToken: s.requireToken,
	}
	if s.Given("namespace") { // what nobody chose stays empty: the set tells of other programs there
		cfg.Namespace = s.Namespace
	}
	place := s.addressFlag()
	cfg.URL = s.redisAddress(place)
	errs := []error{s.readSecrets(&cfg), s.checkDataAlone(place)}
	mode := link.Config{URL: "redis://host", TokenMode: cfg.TokenMode}
	if err := mode.Validate(); err != nil {
		errs = append(errs, s.Problemf("token-mode", "%w", err))
	}
	if s.requireToken && cfg.Token.IsZero() {
		errs = append(errs, s.Problemf("require-token", "there is no token: set STELLAR_TOKEN or STELLAR_TOKEN_FILE"))
	}
	if place == "" {
		password, _ := s.Env(redisPass)
		switch has := password != "" || s.redisPassFile != ""; {
		case has && s.Data != "":
			errs = append(errs, Invalidf("there is a password for Redis, and the server of %s has none, and needs none: take out "+
				"REDIS_PASS and --redis-pass-file", s.Origin(dataFlag).Where))
		case has:
			errs = append(errs, Invalidf("there is a password for Redis, but nothing says where Redis is: set REDIS_URL or REDIS_HOST"))
		}
		return cfg, false, errors.Join(errs...)
	}
	if cfg.HoldsPassword() && s.Origin(place).Rank == FromFlag {
		errs = append(errs, Usagef(
			"--redis-url: a password on the command line can be read by everybody on this machine: use REDIS_URL, REDIS_PASS or REDIS_PASS_FILE"))
	}
	where := link.Config{URL: cfg.URL}
	if err := cmp.Or(where.Validate(), checkPorts(where.Address())); err != nil {
		errs = append(errs, s.Problemf(place, "%w", err))
	} else if where.TLS = cfg.TLS; where.Validate() != nil {
		err := where.Validate()
		errs = append(errs, s.Problemf(s.tlsFlag(err), "%w", err))
	}
	return cfg, true, errors.Join(errs...)
}

// tlsFlag returns the flag of the file that an error of the files for TLS is about.
func (s *Settings) tlsFlag(err error) string {
	failed, _ := errors.AsType[*fs.PathError](err)
	text := err.Error()
	switch {
	case failed != nil && failed.Path == s.redisKey, strings.Contains(text, "key input"), strings.Contains(text, "private key"):
		return redisKeyFlag
	case failed != nil && failed.Path == s.redisCert, strings.Contains(text, "certificate input"):
		return redisCertFlag
	case strings.Contains(text, "CA file"), s.redisCert == "" && s.redisKey == "":
		return redisCAFlag
	case s.redisCert != "":
		return redisCertFlag
	default:
		return redisKeyFlag
	}
}

// readSecrets reads those secrets of the connection that its URL has a use for.
func (s *Settings) readSecrets(cfg *link.Config) error {
	var errs []error
	for _, secret := range []struct {
		used           bool
		to             *link.Secret
		variable, file string
	}{
		{cfg.URL != "", &cfg.Password, redisPass, s.redisPassFile},
		{strings.Contains(cfg.URL, "+sentinel://"), &cfg.SentinelPassword, sentinelPass, s.sentinelPassFile},
		{true, &cfg.Token, token, s.tokenFile}, {true, &cfg.AlsoAccept, tokenAlso, s.alsoFile},
	} {
		if !secret.used {
			continue
		}
		var err error
		if *secret.to, err = s.secret(secret.variable, secret.file); err != nil {
			errs = append(errs, err)
		}
	}
	// The tokens are validated apart from the URL and from each other, so that the error names
	// the right setting.
	for _, t := range []struct {
		place string
		alone link.Config
	}{
		{s.secretPlace(token, s.tokenFile), link.Config{Token: cfg.Token}},
		{s.secretPlace(tokenAlso, s.alsoFile), link.Config{AlsoAccept: cfg.AlsoAccept}},
	} {
		if err := t.alone.WeakTokens(); err != nil && !cfg.TokenMode.SharesToken() {
			errs = append(errs, Invalidf("%s: %w", t.place, err))
		}
	}
	return errors.Join(errs...)
}

// checkPorts returns an error if a port of the address is not between 1 and 65535.
func checkPorts(address string) error {
	_, hosts, _ := strings.Cut(address, "://")
	hosts, _, _ = strings.Cut(hosts, "/")
	for host := range strings.SplitSeq(hosts, ",") {
		_, port, err := net.SplitHostPort(host)
		if n, bad := strconv.Atoi(port); err == nil && (bad != nil || n < 1 || n > 65535) {
			return fmt.Errorf("redis URL %s: port %s is not between 1 and 65535", address, port)
		}
	}
	return nil
}

// addressFlag returns the flag that decides where Redis is, or "" if none was given. Either
// --redis-url or the group of host, port and database decides: the flag with the highest
// rank wins, and --redis-url wins a tie.
func (s *Settings) addressFlag() string {
	best, by := FromDefault, ""
	for _, flag := range []string{redisURLFlag, redisHostFlag, redisPortFlag, redisDBFlag} {
		if r := s.Origin(flag).Rank; r > best {
			best, by = r, flag
		}
	}
	return by
}

// redisAddress returns the URL of Redis where that flag decides, or "".
func (s *Settings) redisAddress(flag string) string {
	switch flag {
	case "":
		return ""
	case redisURLFlag:
		return s.redisURL
	}
	host := cmp.Or(s.redisHost, "127.0.0.1")
	scheme := "redis"
	if s.redisCA != "" || s.redisCert != "" || s.redisKey != "" {
		scheme = "rediss"
	}
	u := url.URL{
		Scheme: scheme, Host: net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(s.redisPort)),
		Path: "/" + strconv.Itoa(s.redisDB),
	}
	return u.String()
}
