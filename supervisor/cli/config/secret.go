package config

import (
	"fmt"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Environment variables that hold secrets. The variable NAME_FILE holds the path of a
// file with the secret instead.
const (
	redisPass    = "REDIS_PASS"
	sentinelPass = "REDIS_SENTINEL_PASS"
	token        = "STELLAR_TOKEN"
	tokenAlso    = "STELLAR_TOKEN_ALSO"
	adminToken   = "STELLAR_ADMIN_TOKEN"
)

// otlpHeaders are the variables with the headers of requests that export traces, such as "authorization=Bearer …". The SDK of
// OpenTelemetry reads them.
var otlpHeaders = []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"}

// Secret names the sources of a secret, not its value.
type Secret struct {
	Variable string
	File     string // path of the file that is used instead of the variable; empty for none
}

// Secrets returns the sources of all secrets that the command "run" uses.
func (s *Settings) Secrets() []Secret {
	return []Secret{
		{redisPass, s.redisPassFile},
		{sentinelPass, s.sentinelPassFile},
		{token, s.tokenFile},
		{tokenAlso, s.alsoFile},
		{adminToken, s.adminTokenFile},
	}
}

// SecretVariables returns the environment variables that hold secrets, or may.
func SecretVariables() []string {
	return append([]string{"REDIS_URL", redisPass, sentinelPass, token, tokenAlso, adminToken}, otlpHeaders...)
}

// ExplainPassword adds to the error of a Redis that does not accept the password where the
// password was set. It returns other errors as they are.
func (s *Settings) ExplainPassword(err error) error {
	if link.CauseOf(err) != link.CausePassword {
		return err
	}
	variable, file := redisPass, s.redisPassFile
	if strings.Contains(err.Error(), "sentinel ") {
		variable, file = sentinelPass, s.sentinelPassFile
	}
	value, _ := s.Env(variable)
	place := fmt.Sprintf("%s is not set", variable)
	switch {
	case file != "":
		place = fmt.Sprintf("it is that of %s, %s", s.Origin(fileFlags[variable]).Where, file)
	case value != "":
		place = fmt.Sprintf("it is that of the variable %s", variable)
	case link.Config{URL: s.redisURL}.HoldsPassword():
		place = fmt.Sprintf("it is that in the URL of %s; %s or %[2]s_FILE would win over it", s.Origin(redisURLFlag).Where, variable)
	}
	return As(err, fmt.Errorf("%w: the password: %s", err, place))
}

// secretNames maps names that somebody may try for a secret, without their hyphens, underscores
// and capitals, to the variable of that secret.
var secretNames = map[string]string{
	"redispass": redisPass, "redispassword": redisPass, "redisauth": redisPass, "password": redisPass, "pass": redisPass,
	"redissentinelpass": sentinelPass, "redissentinelpassword": sentinelPass, "sentinelpass": sentinelPass, "sentinelpassword": sentinelPass,
	"token": token, "stellartoken": token, "servertoken": token, "secret": token, "tokenalso": tokenAlso, "stellartokenalso": tokenAlso,
	"admintoken": adminToken, "stellaradmintoken": adminToken,
}

// secretVariable returns the variable of the secret that the name of an unknown flag or key
// stands for, or "".
func secretVariable(name string) string {
	return secretNames[strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))]
}

// fileFlags maps the variables of secrets to the flags for files with them.
var fileFlags = map[string]string{
	redisPass: "redis-pass-file", sentinelPass: "redis-sentinel-pass-file", token: "token-file", tokenAlso: "token-also-file",
	adminToken: "admin-token-file",
}

// secretPlace returns where a secret comes from, for errors: its file, with what names that, or
// the variable.
func (s *Settings) secretPlace(variable, file string) string {
	if file == "" {
		return variable
	}
	return s.Origin(fileFlags[variable]).Where + ": " + file
}

// unknownSetting returns the error text for an unknown key of the configuration file. One for
// a secret is told where secrets belong.
func unknownSetting(key string, known []string) string {
	variable := secretVariable(key)
	if variable == "" {
		return unknownKey(key, known)
	}
	return fmt.Sprintf("unknown key: secrets do not belong in this file: set the variable %s, or %s: FILE", variable, fileFlags[variable])
}

// maxSecret is the size of the largest file with a secret, in bytes.
const maxSecret = 64 << 10

// secret returns the value of the variable, or the content of the file without its
// final line breaks. It is an error if both are given or the file is empty.
func (s *Settings) secret(variable, file string) (link.Secret, error) {
	value, _ := s.Env(variable)
	if file == "" {
		return link.NewSecret(value), nil
	}
	if value != "" {
		return link.Secret{}, Invalidf("%s and %s are both set: use one of them", variable, s.Origin(fileFlags[variable]).Where)
	}
	text, err := readSmall(file, maxSecret)
	if err != nil {
		return link.Secret{}, Invalidf("%s: %w", s.secretPlace(variable, file), err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return link.Secret{}, Invalidf("%s: it is empty", s.secretPlace(variable, file))
	}
	return link.NewSecret(secret), nil
}
