package cachecmd

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
)

func TestProgressIsForPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := &cluster.Meter{Out: &out}
		for n := range 10 {
			shown(m, "exported")(cache.Progress{Entries: n, Bytes: 7})
			time.Sleep(50 * time.Millisecond)
		}
		m.End()
		require.Equal(t, 5, strings.Count(out.String(), "exported"))
		require.Contains(t, out.String(), "\r\x1b[Kexported 8 entries, skipped 0, 7 bytes")
		require.True(t, strings.HasSuffix(out.String(), "\r\x1b[K"))
		out.Reset()
		m = &cluster.Meter{Out: &out, Silent: true}
		shown(m, "exported")(cache.Progress{})
		m.End()
		require.Empty(t, out.String())
	})
}
