package internal_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// rights are all that a Redis user of the namespace "stellar" needs, as the
// documentation gives them.
const rights = "~{stellar}:* resetchannels &stellar &stellar:* &{stellar}:* &__redis__:invalidate " +
	"-@all +@connection +@pubsub +@transaction +@read +@write -@dangerous +eval +evalsha +time"

func TestTheDocumentedRightsSuffice(t *testing.T) {
	server := redistest.Start(t)
	words := []any{"acl", "setuser", "worker", "on", ">a password of its own"}
	for word := range strings.FieldsSeq(rights) {
		words = append(words, word)
	}
	server.Do(t, words...)
	cfg := server.Config()
	cfg.Username, cfg.Password = "worker", link.NewSecret("a password of its own")

	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "work", MaxAttempts: 2}, func(ctx context.Context, i int) error {
		tx := tasks.Tx(ctx)
		tx.Increment("effects", 1)
		tx.Push("list", i)
		tx.Publish("worked", i)
		return nil
	})
	large := make(chan int, 1)
	tasks.Handle(app, tasks.Definition{Name: "large"}, func(_ context.Context, text string) error {
		large <- len(text)
		return nil
	})
	app.Periodic("work", tasks.Every(time.Second))
	set := supervisortest.StartWith(t, app, supervisor.Config{
		Workers: 2, Redis: cfg, Cache: worker.CacheConfig{Near: cache.Near{Prefixes: []string{"near:"}}},
	})
	api := set.Nodes()[0].API()
	_, err := api.Tasks.EnqueueIn(t.Context(), 10*time.Millisecond, "work", 1)
	require.NoError(t, err)
	_, err = api.Cache.PopWait(t.Context(), "list", 10*time.Second)
	require.NoError(t, err)
	require.NoError(t, api.Cache.Save(t.Context(), "near:x", 1, time.Hour))
	require.Eventually(t, func() bool {
		_, err := cache.Get[int](t.Context(), api.Cache, "near:x")
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	lock, err := api.Cache.Lock(t.Context(), "x", time.Minute)
	require.NoError(t, err)
	require.NoError(t, lock.Unlock())
	_, err = api.Tasks.EnqueueWith(t.Context(), "large", strings.Repeat("x", 100_000), tasks.Options{})
	require.NoError(t, err)
	require.Equal(t, 100_000, <-large)
	_, err = api.Cache.Size(t.Context(), "*")
	require.NoError(t, err)
	_, err = api.Inspector.Counts(t.Context())
	require.NoError(t, err)
	verdicts, err := api.RPC.DoAll(t.Context(), "api.ping", nil)
	require.NoError(t, err)
	for _, v := range verdicts {
		require.NoError(t, v.Err)
	}
	set.Nodes()[1].Crash("drill")
	require.Eventually(t, func() bool { return set.Report().Crashes == 1 && set.AwaitReady(t.Context()) == nil }, time.Minute, 10*time.Millisecond)
	require.NoError(t, set.Stop())
	log, _ := server.Do(t, "acl", "log").([]any)
	require.Empty(t, log, "nothing was refused")
}

func TestAMissingRightIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{"-evalsha", "-publish", "-zadd", "resetkeys", "resetchannels"} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			words := []any{"acl", "setuser", "worker", "on", ">a password of its own"}
			for word := range strings.FieldsSeq(rights + " " + missing) {
				words = append(words, word)
			}
			server.Do(t, words...)
			cfg := server.Config()
			cfg.Username, cfg.Password = "worker", link.NewSecret("a password of its own")
			log := &syncBuffer{}
			set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: cfg, StartTimeout: time.Second}, nil, zerolog.New(log))
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- set.Serve(ctx) }()
			require.Eventually(t, func() bool {
				return len(done) > 0 || strings.Contains(log.text(), "lacks a permission")
			}, time.Minute, 10*time.Millisecond)
			stop()
			err = <-done
			require.True(t, strings.Contains(log.text(), "lacks a permission") || err != nil && strings.Contains(err.Error(), "lacks a permission"),
				"%v\n%s", err, log.text())
			require.Zero(t, set.Report().Crashes)
		})
	}
}
