package configcmd

import (
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
