package link_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestURLsOfEveryKind(t *testing.T) {
	for url, want := range map[string]string{
		"redis+sentinel://u:hunter2@a:1,b/mymaster/3?sentinel_user=s&sentinel_password=hunter2": "redis+sentinel://a:1,b/mymaster/3",
		"rediss+sentinel://[::1]:26379,b:2/mymaster":                                            "rediss+sentinel://[::1]:26379,b:2/mymaster",
		"redis+cluster://:hunter2@a:1,b:2,c:3":                                                  "redis+cluster://a:1,b:2,c:3",
		"rediss+cluster://a/0":                                                                  "rediss+cluster://a/0",
	} {
		c := link.Config{URL: url}
		require.NoError(t, c.Validate(), url)
		require.Equal(t, want, c.Address())
		require.Equal(t, strings.Contains(url, "hunter2"), c.HoldsPassword(), url)
	}
	for url, want := range map[string]string{
		"redis+sentinel://u:hunter2@a:1,b:2":                            "does not name the primary",
		"redis+sentinel://u:hunter2@a:1,b:2/":                           "does not name the primary",
		"redis+sentinel://u:hunter2@a:1,,b:2/m":                         "not a list of hosts",
		"redis+sentinel://u:hunter2@a:hunter2,b:2/m":                    "not a list of hosts",
		"redis+sentinel://u:hunter2@a:1/m/zero":                         "redis+sentinel://",
		"redis+cluster://u:hunter2@a:1,b:2/1":                           "only database 0",
		"redis+cluster://u:hunter2@/":                                   "not a list of hosts",
		"redis+magic://u:hunter2@a:1":                                   "not a valid URL",
		"unix+cluster://u:hunter2@a:1":                                  "not a valid URL",
		"redis://u:hunter2@a:1,b:2":                                     "redis+cluster://",
		"redis+cluster://u:hunter2@a:1?x=%zz":                           "not a valid query",
		"redis://u:hunter2@a:1?ca=/none":                                "use rediss://",
		"rediss://u:hunter2@a:1?ca=/none":                               "CA file",
		"rediss://u:hunter2@a:1?skip_verify=true":                       "skip_verify would accept any server",
		"rediss://u:hunter2@a:1?ca=/none&skip%5Fverify=1":               "skip_verify would accept any server",
		"rediss+cluster://u:hunter2@a:1?skip_verify=1":                  "skip_verify would accept any server",
		"rediss+sentinel://u:hunter2@a:1/m?skip_verify=0&skip_verify=1": "skip_verify would accept any server",
		"rediss://u:hunter2@a:1?cert=/none":                             "go together",
		"rediss://u:hunter2@a:1?cert=/none&key=/none2":                  "/none2",
	} {
		err := link.Config{URL: url}.Validate()
		require.ErrorContains(t, err, want, url)
		require.NotContains(t, err.Error(), "hunter", url)
	}
	require.NoError(t, link.Config{URL: "rediss://a:1?skip_verify=false"}.Validate(), "that is what holds anyway")
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	err := link.Config{URL: "rediss+cluster://a:1", TLS: link.TLSFiles{CA: empty}}.Validate()
	require.ErrorContains(t, err, "no certificate in PEM")
}
