//go:build unix

package files

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An export waits for the reader of its pipe until it is interrupted.
func TestAnExportWaitsForTheReaderOfItsPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(2*readerInterval, func() { cancel(why) })
	write := func(w io.Writer) error { _, err := io.WriteString(w, "all"); return err }
	require.ErrorIs(t, Replace(ctx, path, write), why)
	done := make(chan error, 1)
	go func() { done <- Replace(t.Context(), path, write) }()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Equal(t, "all", string(text))
}
