package cli

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// alienKeys returns the keys of a namespace whose names are known before a node lives, by
// the names of the methods of [link.Keys].
func alienKeys(k link.Keys) map[string]string {
	all := map[string]string{}
	v := reflect.ValueOf(k)
	for i := range v.NumMethod() {
		method := v.Type().Method(i)
		var args []reflect.Value
		for at := 1; at < method.Type.NumIn(); at++ {
			arg := "default"
			switch {
			case method.Name == "Numbers":
				arg = "stellar-worker"
			case method.Name == "Cache", method.Name == "Lock", method.Name == "Loader":
				arg = "k"
			case at == 2:
				arg = "echo"
			}
			args = append(args, reflect.ValueOf(arg))
		}
		if key := v.Method(i).Call(args)[0].String(); strings.HasPrefix(key, k.Prefix()) && !strings.HasSuffix(key, ":") {
			all[method.Name] = key
		}
	}
	return all
}

// plant puts a value of that type under the key, in the place of what is there.
func plant(t *testing.T, c *redis.Client, key, kind string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	require.NoError(t, c.Del(ctx, key).Err())
	var err error
	switch kind {
	case "string":
		err = c.Set(ctx, key, "alien", 0).Err()
	case "list":
		err = c.RPush(ctx, key, "alien").Err()
	case "set":
		err = c.SAdd(ctx, key, "alien").Err()
	case "zset":
		err = c.ZAdd(ctx, key, redis.Z{Member: "alien", Score: 1}).Err()
	case "hash":
		err = c.HSet(ctx, key, "alien", "alien").Err()
	}
	require.NoError(t, err)
}

var types = []string{"string", "list", "set", "zset", "hash"}

// looks are commands that between them go to all keys.
var looks = [][]string{
	{"status"}, {"tasks"}, {"tasks", "list"}, {"tasks", "show", "x"}, {"tasks", "explain", "x"}, {"tasks", "cancel", "x"}, {"tasks", "delete", "x"},
	{"tasks", "reschedule", "x", "--now"}, {"tasks", "rerun", "x"}, {"tasks", "pause", "default"}, {"tasks", "limit", "default", "--tasks", "5"}, {"tasks", "periodic"},
	{"tasks", "delete-queue", "default"}, {"enqueue", "echo"}, {"enqueue", "echo", "--in", "1h", "--unique", "u"},
	{"cache", "get", "k"}, {"cache", "set", "k", "1"}, {"cache", "keys"}, {"cache", "locks"}, {"cache", "export"},
}

// TestCommandsNameAlienKeys puts a value of every type at every key and looks at every
// command at every key, half of them in each place: what one says about a type names the key
// and what to do, in no words of Redis's.
func TestCommandsNameAlienKeys(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		client := redistest.Client(t, at.cfg)
		half := 0
		if at.env["REDIS_URL"] == "" {
			half = 1
		}
		for method, key := range alienKeys(at.cfg.Keys()) {
			for i, kind := range types {
				for j, args := range looks {
					// Each command is at each key once, and each type at each key in each place.
					if n := i + j + len(method); n%len(types) != 0 || n/len(types)%2 != half {
						continue
					}
					require.NoError(t, client.FlushDB(t.Context()).Err())
					plant(t, client, key, kind)
					r := stellar(t, at.env, args...)
					require.NotContains(t, r.err, "WRONGTYPE", "%s %s %v", method, kind, args)
					require.NotContains(t, r.err, "user_script", "%s %s %v", method, kind, args)
					if strings.Contains(r.err, "belongs to something else") {
						require.Contains(t, r.err, key, "%s %s %v", method, kind, args)
						require.Contains(t, r.err, "it is a "+kind, "%s %s %v", method, kind, args)
						require.Contains(t, r.err, "rename or delete it")
					}
				}
			}
		}
	})
}

// TestAlienKeysCrashNoNode starts a set beside a value of another type at each key. No node
// crashes; when the key is gone, the set works, and it stops clean.
func TestAlienKeysCrashNoNode(t *testing.T) {
	t.Parallel()
	refused := map[string]bool{"Layout": true, "Token": true} // at the start, with a message
	cfg := redistest.Start(t).Config()
	client := redistest.Client(t, cfg)
	for method := range alienKeys(cfg.Keys()) {
		if refused[method] {
			continue
		}
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			own := cfg
			own.Namespace = method
			key, kind := alienKeys(own.Keys())[method], "zset"
			env := home(t).with("REDIS_URL", cfg.URL).with("STELLAR_NAMESPACE", method).with("STELLAR_TOKEN", "the token of a test")
			if strings.Contains((&link.WrongTypeError{Key: key, Type: kind}).Error(), "its type is wrong") {
				kind = "set"
			}
			plant(t, client, key, kind)
			set := start(t, env, echoApp(), "--workers", "2", "--drain", "2s")
			set.err.await(t, "set is starting", 1)
			stellar(t, env, "enqueue", "echo", "1", "--wait", "--timeout", "300ms") // whatever becomes of it
			time.Sleep(200 * time.Millisecond)                                      // for what goes wrong without a task
			require.NoError(t, client.Del(t.Context(), key).Err())
			r := stellar(t, env, "enqueue", "echo", "7", "--any-name", "--wait", "--timeout", "20s") // the definitions are published again later
			require.Equal(t, "7\n", r.out, "%s\n%s", r.err, set.err)
			set.term()
			require.Zero(t, set.wait(t), set.err)
			require.NotContains(t, set.err.String(), "crashed")
			require.NotContains(t, set.err.String(), "WRONGTYPE")
			require.NotContains(t, set.err.String(), "redis is back")
			if method == "TaskDefinitions" {
				require.Equal(t, 1, strings.Count(set.err.String(), `"level":"warn"`), "once for host and publisher: %s", set.err)
			}
			for line := range strings.Lines(set.err.String()) {
				var fields struct {
					Cause string `json:"cause"`
					Error string `json:"error"`
				}
				require.NoError(t, json.Unmarshal([]byte(line), &fields))
				if fields.Cause == string(link.CauseType) {
					require.Contains(t, fields.Error, key)
				}
			}
		})
	}
}
