package bench

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/stellarfw/stellar/redisbus/link"
)

// asynqSettings are settings of asynq under a side's name. The first are its defaults:
// an idle server looks for tasks every second, and for delayed ones every five.
var asynqSettings = []asynqSetting{
	{name: "asynq"},
	{"asynq, 10 ms polls", asynq.Config{TaskCheckInterval: 10 * time.Millisecond, DelayedTaskCheckInterval: 10 * time.Millisecond}},
	asynqEager,
}

var asynqEager = asynqSetting{"asynq, 1 ms polls", asynq.Config{TaskCheckInterval: time.Millisecond, DelayedTaskCheckInterval: time.Millisecond}}

type asynqSetting struct {
	name   string
	config asynq.Config
}

// asynqSides is a side for each of the settings.
func asynqSides(run func(b *scope, c asynq.Config) []float64, settings ...asynqSetting) []side {
	var all []side
	for _, s := range settings {
		all = append(all, side{name: s.name, run: func(b *scope) []float64 { return run(b, s.config) }})
	}
	return all
}

func asynqOption(cfg link.Config) asynq.RedisClientOpt {
	return asynq.RedisClientOpt{Network: "unix", Addr: strings.TrimPrefix(cfg.URL, "unix://"), PoolSize: 64}
}

func asynqClient(b *scope, cfg link.Config) *asynq.Client {
	b.Helper()
	c := asynq.NewClient(asynqOption(cfg))
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// asynqEnqueuer enqueues one task. The process has one client, as asynq's users have.
func asynqEnqueuer(b *scope, cfg link.Config, o ...asynq.Option) func(caller int) error {
	b.Helper()
	c := asynqClient(b, cfg)
	return func(int) error {
		_, err := c.Enqueue(asynq.NewTask("work", taskPayload), o...)
		return err
	}
}

// asynqBulk enqueues n tasks from 64 callers: asynq has no call for many.
func asynqBulk(b *scope, cfg link.Config, n int, payload []byte, o ...asynq.Option) {
	b.Helper()
	c := asynqClient(b, cfg)
	var wg sync.WaitGroup
	for caller := range 64 {
		wg.Go(func() {
			for i := caller; i < n; i += 64 {
				if _, err := c.Enqueue(asynq.NewTask("work", payload), o...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// startAsynq starts servers whose tasks call f.
func startAsynq(b *scope, cfg link.Config, servers int, c asynq.Config, f func(payload []byte)) {
	b.Helper()
	c.Concurrency, c.LogLevel = slots, asynq.FatalLevel
	handler := asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error { f(t.Payload()); return nil })
	all := make([]*asynq.Server, servers)
	for i := range all {
		all[i] = asynq.NewServer(asynqOption(cfg), c)
		must(b, all[i].Start(handler))
	}
	b.Cleanup(func() {
		var wg sync.WaitGroup
		for _, s := range all {
			wg.Go(s.Shutdown)
		}
		wg.Wait()
	})
}
