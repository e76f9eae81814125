package config

import (
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Variables with secrets. NAME_FILE names a file with the secret instead.
const (
	redisPass    = "REDIS_PASS"
	sentinelPass = "REDIS_SENTINEL_PASS"
	token        = "STELLAR_TOKEN"
	tokenAlso    = "STELLAR_TOKEN_ALSO"
	adminToken   = "STELLAR_ADMIN_TOKEN"
)

// Secret is where a secret can come from.
type Secret struct {
	Variable string
	File     string // instead of the variable; empty for none
}

// Secrets returns the secrets of "run".
func (s *Settings) Secrets() []Secret {
	return []Secret{
		{redisPass, s.redisPassFile},
		{sentinelPass, s.sentinelPassFile},
		{token, s.tokenFile},
		{tokenAlso, s.alsoFile},
		{adminToken, s.adminTokenFile},
	}
}

// secretFlags are flags that do not exist, but that somebody may try.
var secretFlags = map[string]string{
	"redis-pass": redisPass, "redis-password": redisPass, "redisPass": redisPass, "password": redisPass,
	"token": token, "token-also": tokenAlso, "admin-token": adminToken,
}

// maxSecret is the size of the largest file with a secret, in bytes.
const maxSecret = 64 << 10

// secret returns the value of the variable, or the content of the file.
func (s *Settings) secret(variable, file string) (link.Secret, error) {
	value, _ := s.Env(variable)
	if file == "" {
		return link.Secret(value), nil
	}
	if value != "" {
		return "", Invalidf("%s and %s_FILE are both set: use one of them", variable, variable)
	}
	text, err := readSmall(file, maxSecret)
	if err != nil {
		return "", Invalidf("%s_FILE: %s: %w", variable, file, err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", Invalidf("%s_FILE: %s: it is empty", variable, file)
	}
	return link.Secret(secret), nil
}
