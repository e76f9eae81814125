package internal_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
)

// announced returns the texts about members in a log, in their order.
func (s *syncBuffer) announced(t *testing.T) []string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for line := range strings.Lines(s.b.String()) {
		var l struct {
			Message string `json:"message"`
			Text    string `json:"text"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		if strings.Contains(l.Text+l.Message, "Stellar member") {
			texts = append(texts, l.Text)
		}
	}
	return texts
}

// startLogged starts a set whose log is the buffer.
func startLogged(t *testing.T, cfg link.Config, nodes int, app *worker.App, log *syncBuffer) (*supervisor.Set, func()) {
	t.Helper()
	set, err := supervisor.New(supervisor.Config{Workers: nodes, Redis: cfg}, app, zerolog.New(log))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	require.NoError(t, set.AwaitReady(ctx))
	return set, func() { cancel(); require.NoError(t, <-done) }
}

// However many nodes join and leave, and however long that takes, each process
// logs one line about each process.
func TestEachProcessLogsOneLineOfAnothersStartAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		var small, large syncBuffer
		_, stopSmall := startLogged(t, cfg, 2, nil, &small)
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"2 Stellar members have joined the cluster: stellar-worker-1, stellar-worker-2"}, small.announced(t))

		slow := worker.NewApp()
		turns := make(chan struct{}, 1)
		slow.OnStart(func(context.Context) error { // one after the other: the start takes 30 s
			turns <- struct{}{}
			time.Sleep(500 * time.Millisecond)
			<-turns
			return nil
		})
		set, stopLarge := startLogged(t, cfg, 60, slow, &large)
		time.Sleep(2 * time.Second)
		joined := "60 Stellar members have joined the cluster: stellar-worker-3 to stellar-worker-62"
		require.Equal(t, joined, small.announced(t)[1])
		require.Equal(t, []string{joined}, large.announced(t))

		require.NoError(t, set.Scale(t.Context(), 58))
		time.Sleep(2 * time.Second)
		require.Equal(t, "2 Stellar members have left the cluster: stellar-worker-61, stellar-worker-62", small.announced(t)[2])
		stopLarge()
		time.Sleep(2 * time.Second)
		require.Equal(t, "58 Stellar members have left the cluster: stellar-worker-3 to stellar-worker-60", small.announced(t)[3])
		stopSmall()
		require.Len(t, small.announced(t), 4)
		require.Equal(t, []string{joined}, large.announced(t), "a set that stops does not log that its nodes leave")
	})
}

func TestANodeThatLeavesBeforeItsJoinIsToldIsNotAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		var first, second syncBuffer
		_, stopFirst := startLogged(t, cfg, 1, nil, &first)
		_, stopSecond := startLogged(t, cfg, 1, nil, &second)
		stopSecond()
		require.Empty(t, second.announced(t))
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"Stellar member stellar-worker-1 has joined the cluster"}, first.announced(t))
		stopFirst()
	})
}
