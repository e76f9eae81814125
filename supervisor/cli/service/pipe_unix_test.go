//go:build unix

package service_test

import (
	"bufio"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// A log's pipe is never waited for: what nobody reads is lost.
func TestALogFileMayBeAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	require.ErrorIs(t, service.CheckLogFile(path), service.ErrNoReader)
	l, err := service.OpenLogFile(path)
	require.NoError(t, err, "its reader may come later")
	_, err = l.Write([]byte("lost\n"))
	require.ErrorIs(t, err, service.ErrNoReader)
	for range 2 { // a log shipper that starts again
		reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		require.NoError(t, err)
		require.NoError(t, service.CheckLogFile(path))
		_, err = l.Write([]byte("heard\n"))
		require.NoError(t, err)
		line, err := bufio.NewReader(reader).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "heard\n", line)
		require.NoError(t, reader.Close())
		_, err = l.Write([]byte("lost\n"))
		require.ErrorIs(t, err, syscall.EPIPE)
	}
	require.NoError(t, l.Close())
	l, err = service.OpenLogFile(path)
	require.NoError(t, err)
	require.NoError(t, l.Close(), "nobody has come")
}
