package cachecmd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
)

func TestAFailedExportLeavesTheLastOne(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("the last one"), 0o600))
	err := replaceFile(t.Context(), file, func(w io.Writer) error {
		_, err := io.WriteString(w, "half of")
		require.NoError(t, err)
		return io.ErrUnexpectedEOF
	})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "the last one", string(text))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.NoError(t, replaceFile(t.Context(), os.DevNull, func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }))
	info, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.False(t, info.Mode().IsRegular(), "a device stays one")
}

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
