package files

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFailedExportLeavesTheLastOne(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("the last one"), 0o600))
	err := Replace(t.Context(), file, func(w io.Writer) error {
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
	require.NoError(t, Replace(t.Context(), os.DevNull, func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }))
	info, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.False(t, info.Mode().IsRegular(), "a device stays one")
}
