package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

const (
	cacheKeys     = 1000
	cacheRounds   = 5
	cacheMeasured = 400 * time.Millisecond
)

// cachePayload is about 200 bytes of JSON, encoded once: what is measured is the cache.
var cachePayload = json.RawMessage(`{"id":12345,"name":"` + strings.Repeat("n", 170) + `"}`)

// BenchmarkCache measures the cache beside raw commands and other lock libraries
// on one real Redis, in alternating rounds, and prints a table. Run it with
// -benchtime=1x.
func BenchmarkCache(b *testing.B) {
	for b.Loop() {
		cfg := cacheServer(b)
		works := cacheWorks(b, cfg)
		results := map[string][]float64{}
		for range cacheRounds {
			for _, w := range works {
				if w.callers == 1 {
					for i, rate := range cacheAlternating(b, w.peers) {
						results[w.name+w.peers[i].name] = append(results[w.name+w.peers[i].name], rate)
					}
					continue
				}
				for _, p := range w.peers {
					results[w.name+p.name] = append(results[w.name+p.name], cacheRate(b, w.callers, p.do))
				}
			}
		}
		var out strings.Builder
		fmt.Fprintf(&out, "\n%-28s %-22s %12s %8s %8s\n", "work", "peer", "per second", "spread", "ratio")
		for _, w := range works {
			base := results[w.name+w.peers[0].name]
			for _, p := range w.peers {
				all := results[w.name+p.name]
				ratios := make([]float64, len(all)) // round by round: the machine's mood is the same for both
				for i := range all {
					ratios[i] = all[i] / base[i]
				}
				fmt.Fprintf(&out, "%-28s %-22s %12.0f %7.0f%% %8.2f\n", w.name, p.name, cacheMedian(all),
					100*(slices.Max(all)-slices.Min(all))/cacheMedian(all), cacheMedian(ratios))
			}
		}
		fmt.Print(out.String()) // not b.Log: that is cut after a few lines
	}
}

// cacheWork is one row group: the first peer is what the others are compared with.
type cacheWork struct {
	name    string
	callers int
	peers   []cachePeer
}

type cachePeer struct {
	name string
	do   func(ctx context.Context, caller, n int) error
}

// cacheServer is reached over loopback, as the marks were.
func cacheServer(b *testing.B) link.Config {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	address := l.Addr().String()
	must(b, l.Close())
	_, port, err := net.SplitHostPort(address)
	must(b, err)
	redistest.Start(b, "--port", port)
	return link.Config{URL: "redis://" + address}
}

func cacheWorks(b *testing.B, cfg link.Config) []cacheWork {
	raw := redis.NewClient(&redis.Options{
		Addr: strings.TrimPrefix(cfg.URL, "redis://"), PoolSize: 64, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	b.Cleanup(func() { _ = raw.Close() })
	piped, err := raw.AutoPipeline()
	must(b, err)
	b.Cleanup(func() { _ = piped.Close() })
	c := cache.New(cache.Config{Client: redistest.Client(b, cfg), Keys: cfg.Keys(), Holder: "bench#1:a"})
	key := func(caller, n int) string { return "k" + strconv.Itoa((caller*17+n)%cacheKeys) }
	save := cachePeer{"stellar", func(ctx context.Context, caller, n int) error {
		return c.Save(ctx, key(caller, n), cachePayload, time.Hour)
	}}
	load := cachePeer{"stellar", func(ctx context.Context, caller, n int) error {
		_, err := c.Load(ctx, key(caller, n))
		return err
	}}
	set := func(to redis.Cmdable) func(context.Context, int, int) error {
		return func(ctx context.Context, caller, n int) error {
			return to.Set(ctx, "raw"+key(caller, n), []byte(cachePayload), time.Hour).Err()
		}
	}
	get := func(to redis.Cmdable) func(context.Context, int, int) error {
		return func(ctx context.Context, caller, n int) error { return to.Get(ctx, "raw"+key(caller, n)).Err() }
	}
	for i := range cacheKeys {
		must(b, save.do(b.Context(), 0, i))
		must(b, set(raw)(b.Context(), 0, i))
	}
	return []cacheWork{
		{"save, 1 caller", 1, []cachePeer{{"raw SET", set(raw)}, save, {"three round trips", cacheThreeTrips(raw, key, true)}}},
		{"load, 1 caller", 1, []cachePeer{{"raw GET", get(raw)}, load, {"three round trips", cacheThreeTrips(raw, key, false)}}},
		{"save, 64 callers", 64, []cachePeer{{"raw SET", set(raw)}, save, {"raw SET, auto-pipelined", set(piped)}, {"three round trips", cacheThreeTrips(raw, key, true)}}},
		{"load, 64 callers", 64, []cachePeer{{"raw GET", get(raw)}, load, {"raw GET, auto-pipelined", get(piped)}, {"three round trips", cacheThreeTrips(raw, key, false)}}},
		{"lock + unlock, 64 callers", 64, cacheLockPeers(c, raw)},
		{"near load, 64 callers", 64, cacheNearPeers(b, cfg)},
	}
}

// cacheThreeTrips is the original's way: it looks at the lock, then at the entry,
// then it writes.
func cacheThreeTrips(raw *redis.Client, key func(int, int) string, save bool) func(context.Context, int, int) error {
	return func(ctx context.Context, caller, n int) error {
		k := "raw" + key(caller, n)
		if err := raw.Get(ctx, "lock"+k).Err(); !errors.Is(err, redis.Nil) {
			return err
		}
		if !save {
			if err := raw.Get(ctx, k).Err(); err != nil {
				return err
			}
		} else if err := raw.Set(ctx, k, []byte(cachePayload), 0).Err(); err != nil {
			return err
		}
		if save {
			return raw.PExpire(ctx, k, time.Hour).Err()
		}
		return raw.Set(ctx, k, []byte(cachePayload), 0).Err()
	}
}

// cacheLockPeers take and free a lock that nobody else wants.
func cacheLockPeers(c *cache.Cache, raw *redis.Client) []cachePeer {
	locker := redislock.New(raw)
	sync := redsync.New(goredis.NewPool(raw))
	return []cachePeer{
		{"redislock", func(ctx context.Context, caller, _ int) error {
			l, err := locker.Obtain(ctx, "rl"+strconv.Itoa(caller), 10*time.Second, nil)
			if err != nil {
				return err
			}
			return l.Release(ctx)
		}},
		{"redsync", func(ctx context.Context, caller, _ int) error {
			m := sync.NewMutex("rs"+strconv.Itoa(caller), redsync.WithExpiry(10*time.Second))
			if err := m.LockContext(ctx); err != nil {
				return err
			}
			_, err := m.UnlockContext(ctx)
			return err
		}},
		{"stellar", func(ctx context.Context, caller, _ int) error {
			l, err := c.TryLock(ctx, "l"+strconv.Itoa(caller), 10*time.Second)
			if err != nil {
				return err
			}
			return l.Unlock()
		}},
	}
}

func cacheNearPeers(b *testing.B, cfg link.Config) []cachePeer {
	c := cache.New(cache.Config{Client: redistest.Client(b, cfg), Keys: cfg.Keys(), Near: cache.Near{Prefixes: []string{"near"}}})
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = c.Serve(ctx) })
	b.Cleanup(func() { cancel(); served.Wait() })
	keys := make([]string, cacheKeys)
	for i := range keys {
		keys[i] = "near" + strconv.Itoa(i)
		must(b, c.Save(b.Context(), keys[i], cachePayload, time.Hour))
	}
	time.Sleep(200 * time.Millisecond)
	return []cachePeer{{"stellar", func(ctx context.Context, caller, n int) error {
		_, err := c.Load(ctx, keys[(caller*17+n)%cacheKeys])
		return err
	}}}
}

// cacheAlternating is how often per second each peer could do it by its median
// latency, where one caller does it with each in turn: whatever else the machine
// does hits all of them alike.
func cacheAlternating(b *testing.B, peers []cachePeer) []float64 {
	b.Helper()
	took := make([][]float64, len(peers))
	for n := range 3000 {
		for i, p := range peers {
			start := time.Now()
			if err := p.do(b.Context(), 0, n); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(start).Seconds())
		}
	}
	rates := make([]float64, len(peers))
	for i := range peers {
		rates[i] = 1 / cacheMedian(took[i])
	}
	return rates
}

// cacheRate is how often per second so many callers do it.
func cacheRate(b *testing.B, callers int, do func(ctx context.Context, caller, n int) error) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	var stop atomic.Bool
	var total atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for caller := range callers {
		all.Go(func() {
			n := 0
			for ; !stop.Load(); n++ {
				if err := do(ctx, caller, n); err != nil {
					b.Error(err)
					break
				}
			}
			total.Add(int64(n))
		})
	}
	time.Sleep(cacheMeasured)
	stop.Store(true)
	all.Wait()
	return float64(total.Load()) / time.Since(start).Seconds()
}

func cacheMedian(rates []float64) float64 {
	return slices.Sorted(slices.Values(rates))[len(rates)/2]
}
