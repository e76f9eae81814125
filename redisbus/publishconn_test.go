package redisbus_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A connection that Redis has closed while it was idle costs no message.
func TestMessageAfterARestartOfRedisIsSent(t *testing.T) {
	server := redistest.Start(t)
	b, _ := newBus(t, server.Config(), "b")
	defer b.Close()
	for range 3 {
		require.NoError(t, b.Publish(t.Context(), "x", 1))
		time.Sleep(20 * time.Millisecond)
		server.Kill()
		err := b.Publish(t.Context(), "x", 1)
		require.ErrorIs(t, err, link.ErrUnavailable)
		require.NotErrorIs(t, err, link.ErrUnknownOutcome)
		require.NoError(t, server.Run())
	}
	require.NoError(t, b.Publish(t.Context(), "x", 1))
}

// A refusal is the error of its message alone, and the connection goes on.
func TestRefusedMessageIsNoReasonToHangUp(t *testing.T) {
	cfg := redistest.Start(t).Config()
	client := redistest.Client(t, cfg)
	b, _ := newBus(t, cfg, "b")
	defer b.Close()
	require.NoError(t, b.Publish(t.Context(), "x", 1))
	list := func() string {
		got, err := client.ClientList(t.Context()).Result()
		require.NoError(t, err)
		return got
	}
	before := strings.Count(list(), "name=b:client")
	require.NoError(t, client.Do(t.Context(), "acl", "setuser", "default", "-publish").Err())
	err := b.Publish(t.Context(), "x", 1)
	require.ErrorIs(t, err, link.ErrUnavailable)
	require.Equal(t, link.CauseRights, link.CauseOf(err))
	require.NoError(t, client.Do(t.Context(), "acl", "setuser", "default", "+publish").Err())
	require.NoError(t, b.Publish(t.Context(), "x", 1))
	require.Equal(t, before, strings.Count(list(), "name=b:client"))
}

func TestManyLargeMessagesGoInPieces(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		b := start(t, cfg, "b")
		got := inbox(b.Bus, "x")
		body := append(append([]byte{'"'}, bytes.Repeat([]byte{'x'}, 100_000)...), '"')
		var all sync.WaitGroup
		for range 50 {
			all.Add(1)
			require.NoError(t, b.Post(t.Context(), redisbus.Outgoing{Type: "x", Body: body}, func(receivers int64, err error) {
				defer all.Done()
				if err != nil || receivers != 1 {
					t.Errorf("%d receivers, error %v", receivers, err)
				}
			}))
		}
		for range 50 {
			require.Equal(t, body, []byte(receive(t, got).Body))
		}
		all.Wait()
	})
}
