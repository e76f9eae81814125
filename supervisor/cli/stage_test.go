package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
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

// publishOften has a node publish messages of that type until the test ends, for a command that
// subscribes. Other commands restart the node meanwhile.
func publishOften(t *testing.T, set *supervisortest.Set, kind string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for link.Sleep(ctx, 20*time.Millisecond) == nil {
			if api := apiOf(set, "stellar-worker-1"); api != nil {
				_ = api.Bus.Publish(ctx, kind, map[string]int{"item": 7}) // it may just restart
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		publishing.Wait()
	})
}

// apiOf returns the API of a node, nil while it does not run.
func apiOf(set *supervisortest.Set, id string) *worker.API {
	if node := set.Node(id); node != nil {
		return node.API()
	}
	return nil
}
