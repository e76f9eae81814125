package config

import (
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// MetaFlag is the value of a repeatable flag of the form KEY=VALUE. Unlike the flag
// library's maps, it does not split its values at commas.
type MetaFlag []string

// Set implements urfave.Value.
func (m *MetaFlag) Set(text string) error {
	*m = append(*m, text)
	return nil
}

// String implements urfave.Value; the flag has no default.
func (m *MetaFlag) String() string { return "" }

// Get implements urfave.Value.
func (m *MetaFlag) Get() any { return []string(*m) }

// Meta returns the keys and values of the flag, nil if the flag was not given.
func (m *MetaFlag) Meta() (map[string]string, error) {
	if len(*m) == 0 {
		return nil, nil //nolint:nilnil // which is valid meta
	}
	meta := map[string]string{}
	for _, text := range *m {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, Usagef("--meta: %q: write it as KEY=VALUE", text)
		}
		meta[key] = value
	}
	if err := link.ValidMeta(meta); err != nil {
		return nil, Usagef("--meta: %w", err)
	}
	return meta, nil
}
