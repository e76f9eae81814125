package config

import (
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
