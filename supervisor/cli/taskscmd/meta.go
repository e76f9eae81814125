package taskscmd

import (
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// metaFlag is the value of a repeatable flag of the form KEY=VALUE. Unlike the flag
// library's maps, it does not split its values at commas.
type metaFlag []string

// Set implements urfave.Value.
func (m *metaFlag) Set(text string) error {
	*m = append(*m, text)
	return nil
}

// String implements urfave.Value; the flag has no default.
func (m *metaFlag) String() string { return "" }

// Get implements urfave.Value.
func (m *metaFlag) Get() any { return []string(*m) }

// meta returns the keys and values of the flag, nil if the flag was not given.
func (m *metaFlag) meta() (map[string]string, error) {
	if len(*m) == 0 {
		return nil, nil //nolint:nilnil // which is valid meta
	}
	meta := map[string]string{}
	for _, text := range *m {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, config.Usagef("--meta: %q: write it as KEY=VALUE", text)
		}
		meta[key] = value
	}
	if err := link.ValidMeta(meta); err != nil {
		return nil, config.Usagef("--meta: %w", err)
	}
	return meta, nil
}
