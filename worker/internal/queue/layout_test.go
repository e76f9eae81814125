package queue

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Records of layout 1 have their time in base 36.
func TestARecordOfTheFirstLayoutIsRead(t *testing.T) {
	at := time.UnixMilli(modelStart)
	for _, base := range []int{16, 36} {
		r, err := ParseRecord("mail|a|" + strconv.FormatInt(modelStart, base) + "|\n{}")
		require.NoError(t, err)
		require.True(t, at.Equal(r.Enqueued), "base %d", base)
	}
}
