package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
)

const cacheKeys = 1000

// cachePayload is about 200 bytes of JSON, encoded once: what is measured is the cache.
var cachePayload = json.RawMessage(`{"id":12345,"name":"` + strings.Repeat("n", 170) + `"}`)

// cacheOp is one use of a cache, by one of several callers for the nth time.
type cacheOp func(caller, n int) error

// cacheSide starts something and returns its operation.
type cacheSide struct {
	name  string
	start func(b *scope, cfg link.Config) cacheOp
}

// BenchmarkCache measures the caches of whole sets beside raw commands, which are the
// floor, and other lock libraries, over TCP.
func BenchmarkCache(b *testing.B) {
	run(b, "Cache of whole sets over TCP",
		cacheAlone("save", "SET"), cacheAlone("load", "GET"),
		cacheMany("save", 1), cacheMany("load", 1), cacheMany("save", 8), cacheMany("load", 8),
		cacheLocks(1), cacheLocks(8), publishes(1), publishes(8), cacheNear())
}

func cacheAlone(op, command string) trial {
	tr := trial{name: op + ", 1 caller", calls: sized(2000), rows: []row{
		{work: op + ", 1 caller, p50", unit: "µs", lower: true, goal: goal{1.11, bare}},
		{work: op + ", 1 caller, p99", unit: "µs", lower: true},
	}}
	for _, s := range []cacheSide{
		{stellar, func(b *scope, cfg link.Config) cacheOp { return cacheStellar(b, cfg, op, 1) }},
		{"three round trips", func(b *scope, cfg link.Config) cacheOp { return cacheThreeTrips(cacheClient(b, cfg), command) }},
		{bare, func(b *scope, cfg link.Config) cacheOp { return cacheRaw(b, cacheClient(b, cfg), command) }},
	} {
		tr.sides = append(tr.sides, side{name: s.name, start: func(b *scope) func(i int) error {
			do := s.start(b, overTCP(b))
			return func(i int) error { return do(0, i) }
		}})
	}
	return tr
}

// cacheMany is 64 callers, spread over so many nodes. The floor is one client with
// automatic pipelining.
func cacheMany(op string, nodes int) trial {
	command := map[string]string{"save": "SET", "load": "GET"}[op]
	return cacheParallel(op+", "+callersAt(64, nodes), goal{0.75, bare},
		cacheSide{stellar, func(b *scope, cfg link.Config) cacheOp { return cacheStellar(b, cfg, op, nodes) }},
		cacheSide{"raw " + command, func(b *scope, cfg link.Config) cacheOp { return cacheRaw(b, cacheClient(b, cfg), command) }},
		cacheSide{bare, func(b *scope, cfg link.Config) cacheOp {
			return cacheRaw(b, autoPiped(b, cacheClient(b, cfg)), command)
		}})
}

func cacheParallel(work string, g goal, sides ...cacheSide) trial {
	tr := trial{name: work, rows: []row{{work: work, unit: "/s", goal: g}}}
	for _, s := range sides {
		tr.sides = append(tr.sides, side{name: s.name, run: func(b *scope) []float64 {
			do, n := s.start(b, overTCP(b)), make([]int, 64)
			return []float64{calls(b, 64, func(caller int) error {
				n[caller]++
				return do(caller, n[caller])
			})}
		}})
	}
	return tr
}

func cacheKey(caller, n int) string { return "k" + strconv.Itoa((caller*17+n)%cacheKeys) }

func cacheClient(b *scope, cfg link.Config) *redis.Client {
	b.Helper()
	c := redis.NewClient(&redis.Options{
		Addr: strings.TrimPrefix(cfg.URL, "redis://"), PoolSize: 64, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// cacheNodes starts a set, and returns the API of a caller's node.
func cacheNodes(b *scope, cfg link.Config, nodes int) func(caller int) *worker.API {
	b.Helper()
	all := startApp(b, supervisor.Config{Workers: nodes, Redis: cfg}, worker.NewApp()).Nodes()
	return func(caller int) *worker.API { return all[caller%len(all)].API() }
}

func cacheStellar(b *scope, cfg link.Config, op string, nodes int) cacheOp {
	b.Helper()
	ctx, at := context.Background(), cacheNodes(b, cfg, nodes)
	save := func(caller, n int) error {
		return at(caller).Cache.Save(ctx, cacheKey(caller, n), cachePayload, time.Hour)
	}
	if op == "save" {
		return save
	}
	for i := range cacheKeys {
		must(b, save(0, i))
	}
	return func(caller, n int) error {
		_, err := at(caller).Cache.Load(ctx, cacheKey(caller, n))
		return err
	}
}

func cacheRaw(b *scope, to redis.Cmdable, command string) cacheOp {
	b.Helper()
	ctx := context.Background()
	set := func(caller, n int) error {
		return to.Set(ctx, "raw"+cacheKey(caller, n), []byte(cachePayload), time.Hour).Err()
	}
	if command == "SET" {
		return set
	}
	for i := range cacheKeys {
		must(b, set(0, i))
	}
	return func(caller, n int) error { return to.Get(ctx, "raw"+cacheKey(caller, n)).Err() }
}

// cacheThreeTrips is the original's way: it looks at the lock, then at the entry,
// then it writes.
func cacheThreeTrips(raw *redis.Client, command string) cacheOp {
	ctx := context.Background()
	return func(caller, n int) error {
		k := "raw" + cacheKey(caller, n)
		if err := raw.Get(ctx, "lock"+k).Err(); !errors.Is(err, redis.Nil) {
			return err
		}
		if command == "SET" {
			if err := raw.Set(ctx, k, []byte(cachePayload), 0).Err(); err != nil {
				return err
			}
			return raw.PExpire(ctx, k, time.Hour).Err()
		}
		if err := raw.Get(ctx, k).Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		return raw.Set(ctx, k, []byte(cachePayload), 0).Err()
	}
}

// cacheLocks take and free locks that nobody else wants. The floor is a SET NX and a DEL,
// automatically pipelined.
func cacheLocks(nodes int) trial {
	ctx := context.Background()
	return cacheParallel("lock + unlock, "+callersAt(64, nodes), goal{2, "redislock"},
		cacheSide{stellar, func(b *scope, cfg link.Config) cacheOp {
			at := cacheNodes(b, cfg, nodes)
			return func(caller, _ int) error {
				l, err := at(caller).Cache.TryLock(ctx, "l"+strconv.Itoa(caller), 10*time.Second)
				if err != nil {
					return err
				}
				return l.Unlock()
			}
		}},
		cacheSide{"redislock", func(b *scope, cfg link.Config) cacheOp {
			locker := redislock.New(cacheClient(b, cfg))
			return func(caller, _ int) error {
				l, err := locker.Obtain(ctx, "rl"+strconv.Itoa(caller), 10*time.Second, nil)
				if err != nil {
					return err
				}
				return l.Release(ctx)
			}
		}},
		cacheSide{"redsync", func(b *scope, cfg link.Config) cacheOp {
			sync := redsync.New(goredis.NewPool(cacheClient(b, cfg)))
			return func(caller, _ int) error {
				m := sync.NewMutex("rs"+strconv.Itoa(caller), redsync.WithExpiry(10*time.Second))
				if err := m.LockContext(ctx); err != nil {
					return err
				}
				_, err := m.UnlockContext(ctx)
				return err
			}
		}},
		cacheSide{bare, func(b *scope, cfg link.Config) cacheOp {
			piped := autoPiped(b, cacheClient(b, cfg))
			return func(caller, _ int) error {
				k := "bare" + strconv.Itoa(caller)
				return errors.Join(piped.SetNX(ctx, k, "me", 10*time.Second).Err(), piped.Del(ctx, k).Err())
			}
		}})
}

// publishes are messages that nobody subscribes to. The floor is PUBLISH, automatically
// pipelined.
func publishes(nodes int) trial {
	ctx := context.Background()
	return cacheParallel("publish, "+callersAt(64, nodes), goal{},
		cacheSide{stellar, func(b *scope, cfg link.Config) cacheOp {
			at := cacheNodes(b, cfg, nodes)
			return func(caller, _ int) error { return at(caller).Bus.Publish(ctx, "bench", cachePayload) }
		}},
		cacheSide{"raw PUBLISH", func(b *scope, cfg link.Config) cacheOp {
			raw := cacheClient(b, cfg)
			return func(int, int) error { return raw.Publish(ctx, "bench", []byte(cachePayload)).Err() }
		}},
		cacheSide{bare, func(b *scope, cfg link.Config) cacheOp {
			piped := autoPiped(b, cacheClient(b, cfg))
			return func(int, int) error { return piped.Publish(ctx, "bench", []byte(cachePayload)).Err() }
		}})
}

// cacheNear is loads of entries that a node keeps in its own memory.
func cacheNear() trial {
	return cacheParallel("near load, 64 callers", goal{}, cacheSide{stellar, func(b *scope, cfg link.Config) cacheOp {
		c := cache.New(cache.Config{Client: redistest.Client(b, cfg), Keys: cfg.Keys(), Near: cache.Near{Prefixes: []string{"k"}}})
		ctx, cancel := context.WithCancel(context.Background())
		var served sync.WaitGroup
		served.Go(func() { _ = c.Serve(ctx) })
		b.Cleanup(func() { cancel(); served.Wait() })
		for i := range cacheKeys {
			must(b, c.Save(ctx, cacheKey(0, i), cachePayload, time.Hour))
		}
		time.Sleep(200 * time.Millisecond)
		return func(caller, n int) error {
			_, err := c.Load(ctx, cacheKey(caller, n))
			return err
		}
	}})
}
