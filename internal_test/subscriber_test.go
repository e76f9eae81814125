package internal_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A process of the same user that subscribes to everything on the embedded Redis's socket and
// reads nothing costs no node its lease and no task any time; it is cut.
func TestADeafSubscriberCostsNoLease(t *testing.T) {
	t.Parallel()
	server := redistest.Embedded(t)
	socket, err := server.Listen(t.Context(), filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "t"}, func(context.Context, string) error { return nil })
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 3, Redis: server.Config()})
	lives := func() (all []string) {
		for _, n := range set.Nodes() {
			all = append(all, n.Status().Incarnation)
		}
		return all
	}
	before := lives()
	deaf, err := net.Dial("unix", socket.Path())
	require.NoError(t, err)
	defer deaf.Close()
	_, err = deaf.Write([]byte("*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n"))
	require.NoError(t, err)
	client := redistest.Client(t, server.Config())
	listening := func() int64 { return client.PubSubNumPat(t.Context()).Val() }
	require.Eventually(t, func() bool { return listening() == 1 }, time.Minute, time.Millisecond)
	queue := set.Node("stellar-worker-1").API().Tasks
	for n := 0; listening() > 0; n++ {
		if n < 10 { // more than may be unread
			for range 100 {
				require.NoError(t, client.Publish(t.Context(), "noise", strings.Repeat("x", 64<<10)).Err())
			}
		}
		_, err := queue.EnqueueAndWait(t.Context(), "t", "x", tasks.Options{})
		require.NoError(t, err)
		time.Sleep(10 * time.Millisecond) // the server waits for a few seconds that it reads
	}
	require.Equal(t, before, lives())
}
