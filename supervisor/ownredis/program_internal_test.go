//go:build unix

package ownredis

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAProgramThatHasNoTimeToTellItsVersionIsStillARedis(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "redis-server")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700))
	_, err := askVersion(t.Context(), path, time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, ErrNotInstalled)
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(stopped) })
	_, err = askVersion(ctx, path, time.Minute)
	require.Equal(t, stopped, err)
}
