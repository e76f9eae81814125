package config

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASetThatNeedsMoreConnectionsThanFilesIsRefused(t *testing.T) {
	s, err := parsed(t, environment{}, "--workers=1000")
	require.NoError(t, err)
	require.NoError(t, s.checkFileLimit(3010))
	err = s.checkFileLimit(1024)
	require.ErrorContains(t, err, "workers")
	require.ErrorContains(t, err, "1000 nodes need 3010 connections to Redis")
	require.ErrorContains(t, err, "may open 1024 files")
}

func TestTheHealthPagesLeaveFilesForTheRest(t *testing.T) {
	for files, want := range map[uint64]int{math.MaxUint64: 256, 1 << 20: 256, 1024: 253, 256: 61, 100: 22, 20: 16, 0: 16} {
		require.Equal(t, want, adminConnections(files, 10), files)
	}
	require.Equal(t, 16, adminConnections(1024, 1000))
}
