package cluster

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestADirectoryOfSomebodyElseIsRefused(t *testing.T) {
	dir := "/" // of root
	if os.Getuid() == 0 {
		dir = filepath.Join(t.TempDir(), "stellar")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chown(dir, 12345, 12345))
	}
	err := checkPrivate(dir)
	require.ErrorContains(t, err, "belongs to another user")
	require.ErrorIs(t, err, config.ErrInvalid)
}

func TestDialingAgainAfterNobodyCouldSubscribeOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		var open atomic.Bool
		cfg := link.Config{Dial: func(ctx context.Context) (net.Conn, error) {
			if !open.Load() {
				return nil, link.DialError(context.DeadlineExceeded)
			}
			return server.Dial(ctx)
		}}
		c, err := Open(t.Context(), worker.ClientConfig{Redis: cfg}, "here")
		require.NoError(t, err)
		_, err = c.Dial(t.Context())
		require.ErrorIs(t, err, link.ErrUnavailable)
		require.ErrorContains(t, err, "lets nobody subscribe")
		open.Store(true)
		_, err = c.Dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		time.Sleep(5 * time.Second) // the client library's dialler outlives its client by a second
	})
}

func TestWhatComesFromOthersCannotSteerATerminal(t *testing.T) {
	require.Equal(t, `a\u001b[31m\u009b\u202eé`+"\n", Printable("a\x1b[31m\u009b\u202eé\n"))
	require.Equal(t, `\udb40\udc01`, Printable("\U000e0001"))
}
