package link_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestANounFollowsItsNumber(t *testing.T) {
	for want, got := range map[string]string{
		"1 task": link.Count(1, "task"), "0 tasks": link.Count(0, "task"), "2 tasks": link.Count(int64(2), "task"),
		"1 entry": link.Count(uint64(1), "entry"), "3 entries": link.Count(3, "entry"), "2 crashes": link.Count(2, "crash"), "2 keys": link.Count(2, "key"),
		"1 run tried again": link.Count(1, "run tried again", "runs tried again"), "2 runs tried again": link.Count(2, "run tried again", "runs tried again"),
	} {
		require.Equal(t, want, got)
	}
}
