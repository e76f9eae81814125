package internal_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
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
	"-@all +@connection +@pubsub +@transaction +@read +@write -@dangerous -@scripting -pubsub -randomkey -dbsize +eval +evalsha +time"

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
	require.Eventually(t, func() bool {
		all, err := api.Inspector.Periodic(t.Context())
		require.NoError(t, err)
		return len(all) == 1 && !all[0].Registered.IsZero()
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, api.Inspector.SetDefaults(t.Context(), "default", tasks.Defaults{MaxAttempts: 2}))
	require.ErrorIs(t, api.Tasks.SetPeriodic(t.Context(), tasks.Periodic{Name: "work", Task: "work", Schedule: tasks.Every(time.Hour)}), tasks.ErrRegistered)
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

func TestTheManualHasTheTestedRights(t *testing.T) {
	text, err := os.ReadFile("../supervisor/cli/manual/connect.md")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(string(text)), " "), rights)
}

// harmless are the commands that the user has and that reach no key or channel: those of its own
// connection and transaction, and what tells nothing of others but the names of their keys.
var harmless = strings.Fields("echo ping hello auth reset quit select readonly readwrite asking wait time lolwut scan eval evalsha " +
	"multi exec discard unwatch unsubscribe punsubscribe sunsubscribe")

// TestTheDocumentedRightsAllowNothingElse walks all commands of the server. The user may not run
// what is not in the categories, and none of the others on a key or channel of another tenant.
func TestTheDocumentedRightsAllowNothingElse(t *testing.T) {
	server := redistest.Start(t)
	words := []any{"acl", "setuser", "worker", "on", ">a password of its own"}
	for word := range strings.FieldsSeq(rights) {
		words = append(words, word)
	}
	server.Do(t, words...)
	server.Do(t, "set", "other", "theirs")
	server.Do(t, "function", "load", "#!lua name=theirs\nredis.register_function('theirs', function() return 1 end)")
	state := func() (all []any) {
		for _, look := range [][]any{
			{"keys", "*"}, {"get", "other"}, {"function", "list", "withcode"}, {"acl", "list"}, {"config", "get", "*"},
		} {
			all = append(all, server.Do(t, look...))
		}
		return all
	}
	before := state()
	options := *redistest.Client(t, server.Config()).Options()
	options.CredentialsProviderContext, options.CredentialsProvider = nil, nil
	options.Username, options.Password, options.PoolSize = "worker", "a password of its own", 1
	options.ReadTimeout = 10 * time.Second
	try := func(words ...any) error {
		o := options
		c := redis.NewClient(&o) // one for each: some commands change the connection
		defer func() { _ = c.Close() }()
		return c.Do(t.Context(), words...).Err()
	}
	denied := func(err error) bool {
		return err != nil && (strings.HasPrefix(err.Error(), "NOPERM") || strings.Contains(err.Error(), "command not allowed"))
	}
	tried := 0
	for _, name := range commandNames(t, server) {
		if slices.Contains(harmless, name) || strings.HasPrefix(name, "client|") || strings.HasPrefix(name, "command|") {
			continue
		}
		var verb []any
		for word := range strings.SplitSeq(name, "|") {
			verb = append(verb, word)
		}
		guarded := false
		for _, args := range [][]any{ // where a key or channel may stand
			{"other", "other", "other", "other", "other"}, {"other"}, {"other", "1"}, {"other", "other"}, {"other", "other", "1"},
			{"1", "other"}, {"1", "other", "max"}, {"1", "1", "other", "max"}, {"other", "1", "other"}, {"and", "other", "other"},
			{"streams", "other", "0"}, {"other", "other", "fromlonlat", "1", "1", "byradius", "1", "m"}, {"group", "g", "c", "streams", "other", "0"}, {},
		} {
			tried++
			guarded = denied(try(append(slices.Clone(verb), args...)...)) || guarded
		}
		require.True(t, guarded, "%s is neither forbidden nor bound to the user's keys and channels", name)
	}
	require.Greater(t, tried, 1000)
	for _, attack := range [][]any{
		{"function", "load", "replace", "#!lua name=theirs\nredis.register_function('theirs', function() return 2 end)"},
		{"function", "delete", "theirs"}, {"function", "flush"}, {"fcall", "theirs", "0"}, {"script", "flush"}, {"flushall"}, {"flushdb"},
		{"swapdb", "0", "1"}, {"pubsub", "channels"}, {"randomkey"}, {"client", "list"}, {"client", "kill", "type", "normal"},
		{"client", "pause", "1000"}, {"config", "set", "maxmemory", "1"}, {"acl", "setuser", "worker", "allkeys"}, {"keys", "*"}, {"monitor"},
		{"shutdown", "nosave"}, {"publish", "other", "x"}, {"subscribe", "other"}, {"psubscribe", "*"}, {"spublish", "other", "x"},
		{"eval", "return redis.call('get', 'other')", "0"}, {"eval", "return redis.call('flushall')", "0"},
	} {
		err := try(attack...)
		require.Error(t, err, attack)
		require.Regexp(t, "NOPERM|can't run this command|can't access|permissions", err.Error(), fmt.Sprint(attack))
	}
	require.Equal(t, before, state(), "nothing of the other tenant has changed")
}

// commandNames returns the names of all commands, and of subcommands as "config|set".
func commandNames(t *testing.T, server *redistest.Server) (names []string) {
	t.Helper()
	all, _ := server.Do(t, "command").([]any)
	for _, c := range all {
		fields, _ := c.([]any)
		name, _ := fields[0].(string)
		subs, _ := fields[len(fields)-1].([]any)
		for _, s := range subs {
			fields, _ := s.([]any)
			sub, _ := fields[0].(string)
			names = append(names, sub)
		}
		if len(subs) == 0 {
			names = append(names, name)
		}
	}
	return names
}
