package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// A thousand nodes that leave are some messages, and not a thousand.
func TestLeavesThatGatherAreToldTogether(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		h, err := NewHost(HostConfig{Redis: cfg, App: NewApp(), Log: zerolog.Nop()})
		require.NoError(t, err)
		require.NoError(t, h.Open(t.Context()))
		listening := redistest.Client(t, cfg).Subscribe(t.Context(), cfg.Keys().Inbox(hostsInbox))
		defer listening.Close()
		_, err = listening.Receive(t.Context())
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Serve(ctx) }()

		const nodes = 1200
		for i := range nodes {
			h.leaves.add(redisbus.Identity{ID: fmt.Sprint("n-", i), Incarnation: "gone#" + fmt.Sprint(i)})
		}
		messages, told := 0, 0
		for told < nodes {
			select {
			case m := <-listening.Channel():
				messages++
				told += strings.Count(m.Payload, "gone#")
			case <-time.After(30 * time.Second):
				t.Fatalf("told of %d of %d", told, nodes)
			}
		}
		require.Less(t, messages, nodes/10)
		stop()
		require.Error(t, <-ended)
		require.NoError(t, h.Close(0))
	})
}
