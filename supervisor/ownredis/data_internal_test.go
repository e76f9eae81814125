//go:build unix

package ownredis

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnRDBWithoutAChecksumIsRestored(t *testing.T) {
	t.Parallel()
	for text, right := range map[string]bool{
		"REDIS0011 data \xff\x00\x00\x00\x00\x00\x00\x00\x00": true, // by the option rdbchecksum no
		"REDIS0003 data, and no more\xff":                     true,
		"REDIS0011 data \xff\x00\x00\x00\x00\x00\x00\x00\x01": false,
	} {
		_, err := copyRDB(io.Discard, bytes.NewReader([]byte(text)), true)
		require.Equal(t, right, err == nil, "%q: %v", text, err)
		_, err = copyRDB(io.Discard, bytes.NewReader([]byte(text)), false)
		require.ErrorIs(t, err, ErrNoBackup, "our own have one")
	}
}

func TestCommandsForTheDataTellWhoHasItWhileItsServerDoesNotRun(t *testing.T) {
	t.Parallel()
	at, owner := owned(t, "111")
	defer owner.Close()
	require.NoError(t, os.WriteFile(at.file(aofFile), nil, 0o600))
	_, err := Backup(t.Context(), Config{Dir: at.dir}, io.Discard)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "the server of process 111 does not run at the moment")
	backup := filepath.Join(t.TempDir(), "backup")
	require.NoError(t, os.WriteFile(backup, nil, 0o600))
	_, err = Restore(t.Context(), Config{Dir: at.dir}, backup, true)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "stop that one with TERM")
	require.NotContains(t, err.Error(), "--processes")
}

func TestLookingAtADirectoryMakesNoFileThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "readme"), nil, 0o600))
	r, err := Check(t.Context(), Config{Dir: dir})
	require.NoError(t, err)
	require.Zero(t, r.Bytes)
	require.NoError(t, Usable(t.Context(), Config{Dir: dir}))
	_, err = Backup(t.Context(), Config{Dir: dir}, io.Discard)
	require.ErrorContains(t, err, "there is no data")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
