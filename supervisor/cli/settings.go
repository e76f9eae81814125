package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
)

// maxConcurrency is the most tasks of one node at a time.
const maxConcurrency = 10_000

// maxPrefix leaves room for the number in an id of 200 bytes.
const maxPrefix = 190

const names = "%q: use 1 to 200 letters, digits and . _ : -"

// check reports everything that is wrong with the values, each with where it
// came from. A flag that the command does not have is at its zero value.
func (p *program) check() error {
	errs := []error{p.input.check()}
	require := func(flag string, ok bool, format string, args ...any) {
		if p.input.own[flag] != nil && p.input.origin(flag).rank != fromDefault && !ok {
			errs = append(errs, p.input.problem(flag, format, args...))
		}
	}
	require("workers", p.workers >= 0 && p.workers <= supervisor.MaxWorkers,
		"%d is not between 0 and %d", p.workers, supervisor.MaxWorkers)
	aSet := p.input.own["workers"] != nil // the concurrency of a queue is another flag
	require("concurrency", !aSet || p.concurrency >= 1 && p.concurrency <= maxConcurrency,
		"%d is not between 1 and %d", p.concurrency, maxConcurrency)
	require("workerPrefix", link.ValidName(p.prefix) && len(p.prefix) <= maxPrefix,
		"%.220q: use 1 to %d letters, digits and . _ : -", p.prefix, maxPrefix)
	require("namespace", link.ValidName(p.namespace), names, p.namespace)
	_, _, err := parseQueues(p.queues)
	require("queues", err == nil, "%w", err)
	for flag, d := range map[string]time.Duration{"drain": p.drain, "grace": p.grace} {
		require(flag, d >= time.Millisecond, "%s is too short: use at least 1ms", d)
	}
	require("redis-port", p.redisPort >= 1 && p.redisPort <= 65535, "%d is not between 1 and 65535", p.redisPort)
	require("redis-db", p.redisDB >= 0, "%d is negative", p.redisDB)
	_, known := levels[p.logLevel]
	require("log-level", known, "%q is none of trace, debug, info, warn, error and off", p.logLevel)
	formats := []string{"auto", "json", "console"}
	require("log-format", slices.Contains(formats, p.logFormat), "%q is none of auto, json and console", p.logFormat)
	require("output", p.output == "table" || p.output == "json", "%q is neither table nor json", p.output)
	_, _, err = net.SplitHostPort(p.adminAddr)
	p.checkCompat(require)
	require("admin-addr", err == nil, "%q: use host:port, such as 127.0.0.1:8080", p.adminAddr)
	return errors.Join(errs...)
}

var levels = map[string]zerolog.Level{
	"trace": zerolog.TraceLevel, "debug": zerolog.DebugLevel, "info": zerolog.InfoLevel,
	"warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel, "off": zerolog.Disabled,
}

// setConfig is the set's configuration, without Redis.
func (p *program) setConfig() (supervisor.Config, error) {
	queues, weights, _ := parseQueues(p.queues) // check has told what is wrong
	cfg := supervisor.Config{
		Workers: p.workers, WorkerPrefix: p.prefix, ID: p.id, Concurrency: p.concurrency, Queues: queues, Weights: weights,
		Drain: p.drain, Grace: p.grace, Cache: p.cacheConfig(),
	}
	if p.id != "" {
		if !link.ValidName(p.id) {
			return cfg, p.input.problem("id", names, p.id)
		}
		if p.input.origin("workers").rank == fromDefault {
			cfg.Workers = 1
		}
		if cfg.Workers != 1 {
			return cfg, p.input.problem("id", "it can be given to one node only, not to %d: use --workers 1, or --workerPrefix", cfg.Workers)
		}
	}
	if cfg.Workers == 0 {
		cfg.Workers = supervisor.Idle
	}
	if p.prefix == "hostname" {
		host, err := os.Hostname()
		if err != nil {
			return cfg, configf("the host's name: %w", err)
		}
		if !link.ValidName(host) {
			return cfg, configf("the host's name "+names+" as the worker prefix", host)
		}
		cfg.WorkerPrefix = host
	}
	return cfg, nil
}

// redis is where Redis is; configured is false when nothing says so.
func (p *program) redis() (cfg link.Config, configured bool, err error) {
	cfg = link.Config{
		Namespace: p.namespace, Username: p.redisUser, SentinelUsername: p.sentinelUser,
		TLS: link.TLSFiles{CA: p.redisCA, Cert: p.redisCert, Key: p.redisKey},
	}
	var errs []error
	if cfg.Password, err = p.secret(redisPass, p.redisPassFile); err != nil {
		errs = append(errs, err)
	}
	if cfg.SentinelPassword, err = p.secret("REDIS_SENTINEL_PASS", p.sentinelPassFile); err != nil {
		errs = append(errs, err)
	}
	if cfg.Token, err = p.secret("STELLAR_TOKEN", p.tokenFile); err != nil {
		errs = append(errs, err)
	}
	if cfg.AlsoAccept, err = p.secret("STELLAR_TOKEN_ALSO", p.alsoFile); err != nil {
		errs = append(errs, err)
	}
	// What is not the URL's is checked on its own, so that the error is not blamed on the URL.
	alone := link.Config{URL: "redis://host", Token: cfg.Token, AlsoAccept: cfg.AlsoAccept}
	if err := alone.Validate(); err != nil {
		errs = append(errs, configf("STELLAR_TOKEN: %w", err))
	}
	cfg.TokenMode = link.Mode(p.tokenMode)
	mode := link.Config{URL: "redis://host", TokenMode: cfg.TokenMode}
	if err := mode.Validate(); err != nil {
		errs = append(errs, p.input.problem("token-mode", "%w", err))
	}
	var place string
	if cfg.URL, place = p.redisAddress(); cfg.URL == "" {
		if !cfg.Password.IsZero() {
			errs = append(errs, configf("there is a password for Redis, but nothing says where Redis is: set REDIS_URL or REDIS_HOST"))
		}
		return cfg, false, errors.Join(errs...)
	}
	if cfg.HoldsPassword() && p.input.origin(place).rank == fromFlag {
		errs = append(errs, usagef(
			"--redis-url: a password on the command line can be read by everybody on this machine: use REDIS_URL, REDIS_PASS or REDIS_PASS_FILE"))
	}
	where := link.Config{URL: cfg.URL, TLS: cfg.TLS}
	if err := cmp.Or(where.Validate(), checkPorts(where.Address())); err != nil {
		errs = append(errs, p.input.problem(place, "%w", err))
	}
	return cfg, true, errors.Join(errs...)
}

// checkPorts looks at the ports of an address, which a dial would complain about.
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

// redisAddress returns the URL and the flag that decided it. Between a URL and
// host, port and database the one that comes from the higher place wins, the
// URL when they come from the same.
func (p *program) redisAddress() (address, flag string) {
	best, by := fromDefault, ""
	for _, flag := range []string{"redis-url", "redis-host", "redis-port", "redis-db"} {
		if r := p.input.origin(flag).rank; r > best {
			best, by = r, flag
		}
	}
	switch by {
	case "":
		return "", ""
	case "redis-url":
		return p.redisURL, by
	}
	host := p.redisHost
	if host == "" {
		host = "127.0.0.1"
	}
	scheme := "redis"
	if p.redisCA != "" || p.redisCert != "" || p.redisKey != "" {
		scheme = "rediss"
	}
	u := url.URL{
		Scheme: scheme, Host: net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(p.redisPort)),
		Path: "/" + strconv.Itoa(p.redisDB),
	}
	return u.String(), by
}

// redisPass is the variable with the password of Redis, adminToken that with the
// token of the health pages.
const (
	redisPass  = "REDIS_PASS"
	adminToken = "STELLAR_ADMIN_TOKEN"
)

// maxSecret is the largest file that is taken for a secret, in bytes.
const maxSecret = 64 << 10

// secret is the value of the variable, or what the file holds.
func (p *program) secret(variable, file string) (link.Secret, error) {
	value, _ := p.input.env(variable)
	if file == "" {
		return link.Secret(value), nil
	}
	if value != "" {
		return "", configf("%s and %s_FILE are both set: use one of them", variable, variable)
	}
	text, err := readSmall(file, maxSecret)
	if err != nil {
		return "", configf("%s_FILE: %s: %w", variable, file, err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", configf("%s_FILE: %s: it is empty", variable, file)
	}
	return link.Secret(secret), nil
}
