package worker_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// What waits for a look at a Redis that does not answer was not sent: that is known.
func TestWhatASilentRedisNeverGotHasAKnownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := redistest.Embedded(t).Config()
		at.Dial = func(context.Context) (net.Conn, error) {
			conn, other := net.Pipe()
			go func() {
				var b [1 << 10]byte
				for {
					if _, err := other.Read(b[:]); err != nil {
						return
					}
				}
			}()
			return conn, nil
		}
		client := connect(t, worker.ClientConfig{Redis: at})
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		_, enqueued := client.Tasks.Enqueue(short(), "x", nil)
		_, called := client.RPC.DoCluster(short(), "api.ping", nil, rpcregistry.All())
		for what, err := range map[string]error{
			"save": client.Cache.Save(short(), "k", 1, 0), "ping": client.Ping(short()), "enqueue": enqueued,
			"publish": client.Bus.Publish(short(), "news", 1), "call": called,
		} {
			if !errors.Is(err, link.ErrUnavailable) || errors.Is(err, link.ErrUnknownOutcome) {
				t.Errorf("%s: %v", what, err)
			}
		}
		cancelled, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := client.Cache.Save(cancelled, "k", 1, 0)
		require.NotErrorIs(t, err, link.ErrUnknownOutcome)
		t.Log(err)
		require.NoError(t, client.Close())
		time.Sleep(5 * time.Second)
	})
}

func TestACallSaysWhyItsReplyCannotBeHeard(t *testing.T) {
	at := redistest.Start(t).Config()
	at.Token = link.NewSecret("the token of a test")
	admin := redistest.Client(t, at)
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "deaf", "on", ">secret", "~*", "+@all", "resetchannels").Err())
	deaf := at
	deaf.Username, deaf.Password = "deaf", link.NewSecret("secret")
	client := connect(t, worker.ClientConfig{Redis: deaf})
	_, err := client.Tasks.EnqueueWith(t.Context(), "x", nil, tasks.Options{AnyName: true})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = client.RPC.DoCluster(ctx, "api.ping", nil, rpcregistry.All())
	require.ErrorIs(t, err, rpcregistry.ErrUnavailable)
	require.ErrorContains(t, err, "ACL")
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "deaf", "&*").Err())
	ctx, cancel = context.WithTimeout(t.Context(), patient)
	defer cancel()
	require.NoError(t, client.Bus.Await(ctx))
}
