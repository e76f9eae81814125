package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// prepareArchive fills a Redis without nodes with the namespaces that the transcripts list and remove.
func (s *stage) prepareArchive(t *testing.T) {
	t.Helper()
	server := redistest.Embedded(t)
	socket := filepath.Join(s.env["XDG_RUNTIME_DIR"], "a")
	_, err := server.Listen(t.Context(), socket)
	require.NoError(t, err)
	s.archive = s.env.with("STELLAR_SOCKET", socket)
	for i, namespace := range []string{"stellar", "old-60", "old-120", "old-json"} {
		at := place{server.Config(), s.archive}
		at.cfg.Namespace = namespace
		c := at.holding(t, cache.Native)
		for n := range i + 1 {
			require.NoError(t, c.Save(t.Context(), fmt.Sprint("k", n), strings.Repeat("x", 1000), 0))
		}
		_, err := c.TryLock(t.Context(), "k0", 24*time.Hour)
		require.NoError(t, err)
	}
}
