package configcmd

import (
	"net/url"
	"slices"
	"strings"
)

const hidden = "[redacted]"

// redacted returns a value without the secrets of a URL: everything before the last
// @ but the user, and the members of its query whose names say that they are secret.
// It also redacts what is no valid URL.
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
