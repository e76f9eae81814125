package configcmd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRedacted(t *testing.T) {
	for value, want := range map[string]string{
		"plain@text":                     "plain@text",
		"redis://h:1/0":                  "redis://h:1/0",
		"redis://ada:pw@h:1/0":           "redis://ada:[redacted]@h:1/0",
		"redis://pw@h":                   "redis://[redacted]@h",
		"redis://:p@/?w@h":               "redis://:[redacted]@h",
		"redis://h?db=1&Sentinel_PW=a":   "redis://h?db=1&Sentinel_PW=a",
		"redis://h?a=1&sentinel_pass=pw": "redis://h?a=1&sentinel_pass=[redacted]",
		"redis://h?%70assword=pw":        "redis://h?%70assword=[redacted]",
	} {
		require.Equal(t, want, redacted(value))
	}
}

func TestRedactedArguments(t *testing.T) {
	const pw = "hunter2"
	for _, args := range [][]string{
		{"x", "--password=" + pw}, {"x", "--password", pw}, {"x", "-pass", pw}, {"x", "--db-pass", "--" + pw}, {"x", "DB_PASSWORD=" + pw},
		{"env", "API_KEY=" + pw, "x"}, {"curl", "-H", "Authorization: Bearer " + pw, "http://h"}, {"curl", "-H", "X-Auth-Token:" + pw},
		{"curl", "-d", `{"user": "ada", "secret": "` + pw + ` ` + pw + `"}`}, {"x", "--secret='" + pw + "'"}, {"curl", "-u", "x", "https://ada:" + pw + "@h"},
		{"sh", "-c", "DB_PASSWORD=" + pw + " psql --password " + pw + " --token='" + pw + "' postgres://ada:" + pw + "@h/db?sslpassword=" + pw},
		{"x", "--Client-Secret", pw, "--apikey:" + pw}, {"x", "user=ada&password=" + pw + "&x=1"}, {"x", "--accessKey=" + pw + ",region=eu"},
	} {
		shown := redactedArguments(args)
		require.Len(t, shown, len(args))
		require.NotContains(t, strings.Join(shown, " "), pw, "%q", args)
		require.Equal(t, args[0], shown[0])
	}
	for _, args := range [][]string{
		{"convert", "-", "-resize", "200x", "png:-"}, {"find", "/tmp", "-mtime", "+30", "-delete"}, {"passwd", "ada"},
		{"x", "--password-file", "/run/pw", "--token-path=/run/token"}, {"sh", "-c", "ls -l /tmp | wc -l > x; date --iso=s"}, {"x", "http://h:1/a?b=c"},
	} {
		require.Equal(t, args, redactedArguments(args))
	}
}
