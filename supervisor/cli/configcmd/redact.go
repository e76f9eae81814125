package configcmd

import (
	"net/url"
	"slices"
	"strings"
)

const hidden = "[redacted]"

// redacted returns the value, and if that is a URL, replaces its secrets: the password
// before the last @ (or the whole part before it, if that has no colon), and each query
// parameter whose name suggests a secret. It redacts invalid URLs as well.
func redacted(value string) string {
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok {
		return value
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, _, password := strings.Cut(rest[:at], ":")
		if rest = hidden + rest[at:]; password {
			rest = user + ":" + rest
		}
	}
	rest, query, asked := strings.Cut(rest, "?")
	if asked {
		var members []string
		for member := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(member, "=")
			plain, err := url.QueryUnescape(name)
			if err != nil || secretName(plain) {
				member = name + "=" + hidden
			}
			members = append(members, member)
		}
		rest += "?" + strings.Join(members, "&")
	}
	return scheme + "://" + rest
}

func secretName(name string) bool {
	return slices.ContainsFunc([]string{"pass", "secret", "token", "auth", "pwd"}, func(part string) bool {
		return strings.Contains(strings.ToLower(name), part)
	})
}
