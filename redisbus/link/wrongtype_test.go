package link_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// keysOf returns the keys of a namespace by the names of the methods of [link.Keys].
func keysOf(k link.Keys) map[string]string {
	all := map[string]string{}
	v := reflect.ValueOf(k)
	for i := range v.NumMethod() {
		method := v.Type().Method(i)
		var args []reflect.Value
		for range method.Type.NumIn() - 1 {
			args = append(args, reflect.ValueOf("x"))
		}
		if key := v.Method(i).Call(args)[0].String(); strings.HasPrefix(key, k.Prefix()) {
			all[method.Name] = key
		}
	}
	return all
}

func TestEveryKeyHasItsType(t *testing.T) {
	for method, key := range keysOf(link.NewKeys("stellar")) {
		text := (&link.WrongTypeError{Key: key, Type: "vectorset"}).Error()
		if method == "Prefix" || method == "Cache" || method == "CachePrefix" {
			require.Contains(t, text, "its type is wrong (vectorset)", method)
			continue
		}
		require.Regexp(t, `it is a vectorset, a (string|hash|list|set|zset|stream) is needed; rename or delete it$`, text, method)
	}
}

// Naming a key costs one command, and none for a second.
func TestAForeignKeyIsLookedForOnce(t *testing.T) {
	cfg := redistest.Start(t).Config()
	client, err := link.OpenClient(cfg, "test")
	require.NoError(t, err)
	defer client.Close()
	keys := cfg.Keys()
	require.NoError(t, client.SAdd(t.Context(), keys.Stats(), "mine").Err())
	script := link.NewScript(`return redis.call('HGET', ARGV[1], 'x')`)
	require.NoError(t, client.ScriptLoad(t.Context(), script.Source()).Err())
	require.NoError(t, client.ConfigResetStat(t.Context()).Err())
	began := time.Now()
	for range 10 {
		_, err := script.Call(t.Context(), client, []string{keys.Tasks()}, keys.Stats())
		require.ErrorContains(t, err, keys.Stats())
	}
	asked := 1 + int(time.Since(began)/time.Second) // a slow machine asks again
	require.Regexp(t, fmt.Sprintf(`^calls=[1-%d],`, asked), redistest.Info(t, client, "commandstats", "cmdstat_eval"))
	require.Regexp(t, `^calls=10,`, redistest.Info(t, client, "commandstats", "cmdstat_evalsha"))
}

// Plain commands, pipelines and scripts name the key and its type, whoever stumbles over it.
func TestARefusalForAKeysTypeNamesTheKey(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client, err := link.OpenClient(cfg, "test")
		require.NoError(t, err)
		defer client.Close()
		keys := cfg.Keys()
		require.NoError(t, client.SAdd(t.Context(), keys.Tries(), "mine").Err())
		named := func(err error) {
			t.Helper()
			var wrong *link.WrongTypeError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, link.WrongTypeError{Key: keys.Tries(), Type: "set"}, *wrong)
			require.True(t, link.IsWrongType(err))
			require.Equal(t, link.Ran, link.OutcomeOf(err))
			require.ErrorContains(t, err, `the key "{stellar}:tries" on Redis belongs to something else: it is a set, a hash is needed; rename or delete it`)
		}
		named(client.HGet(t.Context(), keys.Tries(), "x").Err())
		var second *redis.StringCmd
		_, err = client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Get(t.Context(), keys.Token())
			second = p.HGet(t.Context(), keys.Tries(), "x")
			return nil
		})
		require.ErrorIs(t, err, redis.Nil, "the first error of the pipeline stays the first")
		named(second.Err())
		_, err = client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			p.HGet(t.Context(), keys.Tries(), "x")
			return nil
		})
		named(err)
		script := link.NewScript(`return redis.call('HGET', ARGV[1], 'x')`)
		_, err = script.Call(t.Context(), client, []string{keys.Tasks()}, keys.Tries())
		named(err)
		require.NoError(t, client.ScriptLoad(t.Context(), script.Source()).Err())
		_, err = client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			script.Run(context.Background(), p, []string{keys.Tasks()}, keys.Tries())
			return nil
		})
		named(err)

		require.NoError(t, client.Set(t.Context(), "own", "mine", 0).Err())
		require.ErrorContains(t, client.LLen(t.Context(), "own").Err(), "WRONGTYPE", "a key of the program's own")
		require.ErrorContains(t, client.Get(t.Context(), keys.Tries()).Err(), "it is a set, a hash is needed")
		require.NoError(t, client.Set(t.Context(), keys.Token(), "ours", 0).Err())
		require.ErrorContains(t, client.LLen(t.Context(), keys.Token()).Err(), "WRONGTYPE", "the command is wrong, not the key")
	})
}
