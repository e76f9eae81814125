package link_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestNearest(t *testing.T) {
	known := []string{"workers", "drain", "redis-url", "redis-user", "id"}
	for word, want := range map[string]string{
		"wrokers": "workers", "worker": "workers", "Drain": "drain", "redis_url": "redis-url", "frob": "", "xy": "", "": "",
	} {
		require.Equal(t, want, link.Nearest(word, known), word)
	}
}
