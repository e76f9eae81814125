package embedded

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAReaderThatStopsIsCutAlthoughNothingMoreIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newPipe(limits{soft: 100, hard: 1000, patience: 5 * time.Second})
		_, err := server.Write(make([]byte, 200))
		require.NoError(t, err)
		time.Sleep(4 * time.Second)
		n, err := client.Read(make([]byte, 50)) // slow, but it reads
		require.NoError(t, err)
		require.Equal(t, 50, n)
		time.Sleep(4 * time.Second)
		_, err = client.Read(make([]byte, 10))
		require.NoError(t, err)
		time.Sleep(6 * time.Second)
		_, err = client.Read(make([]byte, 10))
		require.ErrorIs(t, err, io.EOF)
		_, err = server.Write([]byte("x"))
		require.ErrorIs(t, err, io.ErrClosedPipe)
	})
}
