package configcmd

import (
	"net/url"
	"regexp"
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

// secretName reports whether a name suggests that its value is a secret. A file with a
// secret is none.
func secretName(name string) bool {
	name = strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))
	if strings.HasSuffix(name, "file") || strings.HasSuffix(name, "path") {
		return false
	}
	parts := []string{"pass", "secret", "token", "auth", "pwd", "credential", "apikey", "accesskey"}
	return slices.ContainsFunc(parts, func(part string) bool {
		return strings.Contains(name, part)
	})
}

// namedValue matches a name, = or a colon, and a value: --password=x, TOKEN=x, "secret": "x",
// or the header Authorization: Bearer x, also within a longer text such as that of a shell.
// givenValue matches a flag and the value behind it in such a text.
var (
	namedValue = regexp.MustCompile(
		`(?i)([\w.-]+)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|(?:(?:bearer|basic|digest)\s+)?[^\s"'&,;{}]+)`)
	givenValue = regexp.MustCompile(`(--?[a-zA-Z][\w.-]*)(\s+)("[^"]*"|'[^']*'|[^\s"']+)`)
)

// redactedArguments returns the arguments of a program without the values that are secrets by
// their names, or in URLs. Nothing tells that a value is a secret if it has no name, or one
// letter for it.
func redactedArguments(args []string) []string {
	shown := make([]string, len(args))
	for i, arg := range args {
		if i > 1 && isFlag(args[i-1]) && secretName(args[i-1]) {
			shown[i] = hidden
			continue
		}
		arg = redacted(arg)
		for _, pattern := range []*regexp.Regexp{namedValue, givenValue} {
			arg = pattern.ReplaceAllStringFunc(arg, func(text string) string {
				m := pattern.FindStringSubmatch(text)
				if !secretName(m[1]) || m[3] == hidden || strings.HasPrefix(m[3], "//") {
					return text
				}
				return m[1] + m[2] + hidden
			})
		}
		shown[i] = arg
	}
	return shown
}

// isFlag reports whether an argument is a flag whose value is the next argument.
func isFlag(arg string) bool {
	return strings.HasPrefix(arg, "-") && !strings.ContainsAny(arg, "= \t\n")
}
