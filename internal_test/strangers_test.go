package internal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
)

// startLog collects the log of a set.
type startLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *startLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// warnings returns the warnings that speak of the default namespace.
func (l *startLog) warnings(t *testing.T) (found []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		if strings.Contains(line, "default namespace") {
			found = append(found, fields)
		}
	}
	return found
}

// startProgram starts a set of a program and returns its warnings of other programs, once
// all its nodes run. The set stops with the test.
func startProgram(t *testing.T, at link.Config, program string) []map[string]any {
	t.Helper()
	log := &startLog{}
	set, err := supervisor.New(supervisor.Config{Workers: 3, Redis: at, Program: program}, nil, zerolog.New(log))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- set.Serve(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-done) })
	waiting, waited := context.WithTimeout(ctx, 30*time.Second)
	defer waited()
	require.NoError(t, set.AwaitReady(waiting))
	return log.warnings(t)
}

func TestTheDefaultNamespaceHoldsAnotherProgram(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		host, err := os.Hostname()
		require.NoError(t, err)
		require.Empty(t, startProgram(t, at, "shop"))
		require.Empty(t, startProgram(t, at, "shop"), "a second process of the program")
		nameless(t, redistest.Client(t, at), at.Keys(), "stellar-worker-4")

		told := startProgram(t, at, "ledger")
		require.Len(t, told, 1, "three nodes start, and it is said once")
		require.Equal(t, "warn", told[0]["level"])
		require.Equal(t, "stellar", told[0]["namespace"])
		require.Equal(t, "ledger", told[0]["program"])
		require.Equal(t, []any{fmt.Sprintf("shop: process %d on %s", os.Getpid(), host)}, told[0]["others"])
		for _, what := range []string{"--namespace", "STELLAR_NAMESPACE", "ignore"} {
			require.Contains(t, told[0]["message"], what)
		}

		at.Namespace = link.DefaultNamespace
		require.Empty(t, startProgram(t, at, "audit"), "who names the default namespace has chosen it")
	})
}

func TestAChosenNamespaceIsSharedOnPurpose(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		at.Namespace = "together"
		require.Empty(t, startProgram(t, at, "shop"))
		require.Empty(t, startProgram(t, at, "ledger"))
	})
}

func TestProgramsWithoutANameAreNotTold(t *testing.T) {
	redistest.Each(t, func(t *testing.T, at link.Config) {
		require.Empty(t, startProgram(t, at, "shop"))
		for _, n := range []string{"1", "2", "3"} {
			nameless(t, redistest.Client(t, at), at.Keys(), "stellar-worker-"+n)
		}
		require.Empty(t, startProgram(t, at, "ledger"))
	})
}

// nameless makes a member's record what an older program writes.
func nameless(t *testing.T, c *redis.Client, k link.Keys, id string) {
	t.Helper()
	record, err := c.HGet(t.Context(), k.Members(), id).Result()
	require.NoError(t, err)
	require.Contains(t, record, `"program":"shop",`)
	require.NoError(t, c.HSet(t.Context(), k.Members(), id, strings.Replace(record, `"program":"shop",`, "", 1)).Err())
}
