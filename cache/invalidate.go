package cache

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// invalidations is the channel on which Redis announces changed keys.
const invalidations = "__redis__:invalidate"

// tracking names the near cache's work in reports: while it fails, all loads go to Redis.
const tracking = "near cache"

// Serve keeps the entries of [Near] up to date until ctx ends; if none are configured, it
// only waits for that. It always returns nil.
func (c *Cache) Serve(ctx context.Context) error {
	defer c.near.off()
	defer c.reports.Ended(tracking)
	for failures := 1; c.near != nil && ctx.Err() == nil; failures++ {
		began := time.Now()
		err := c.track(ctx)
		c.near.off()
		if ctx.Err() != nil {
			break
		}
		if link.OutcomeOf(err) == link.Ran && errors.As(err, new(redis.Error)) {
			c.log.Info().Err(err).Msg("cache: this server has no client-side caching; the near cache is off")
			break
		}
		if time.Since(began) > time.Minute {
			failures = 1
		}
		if failures >= link.FewTries {
			c.reports.Failed(tracking, err)
		}
		_ = link.Sleep(ctx, link.Pause(failures))
	}
	<-ctx.Done()
	return nil
}

// off makes all loads go to Redis.
func (n *near) off() {
	if n != nil {
		n.on.Store(false)
		n.flush()
	}
}

// track opens a connection on which Redis announces changed keys, and serves loads from
// memory as long as the connection works.
func (c *Cache) track(ctx context.Context) error {
	client := c.tracker()
	defer func() { _ = client.Close() }()
	sub := client.Subscribe(ctx)
	defer func() { _ = sub.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer stop()
	if err := sub.Subscribe(ctx, invalidations); err != nil {
		return err
	}
	// After half of MaxStale without a message a PING asks for one. Without an answer
	// after another half, the connection is dead.
	beat, asked := c.near.cfg.MaxStale/2, false
	for {
		message, err := sub.ReceiveTimeout(ctx, beat)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !asked && ctx.Err() == nil:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		case err != nil: // also Redis's message that all keys have changed, which the client library cannot read
			return err
		}
		asked = false
		switch m := message.(type) {
		case *redis.Subscription:
			c.near.flush()
			c.near.on.Store(true)
			c.reports.Works(tracking)
		case *redis.Message:
			for _, name := range m.PayloadSlice {
				c.near.forget(name)
			}
		}
	}
}

// tracker returns a client on whose connections Redis announces changed keys.
func (c *Cache) tracker() *redis.Client {
	o := *c.client.Options()
	o.PoolSize, o.MaxActiveConns, o.MinIdleConns = 1, 2, 0
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		id, err := conn.ClientID(ctx).Result()
		if err != nil {
			return err
		}
		args := []any{"client", "tracking", "on", "redirect", id, "bcast"}
		for _, p := range c.near.cfg.Prefixes {
			args = append(args, "prefix", c.names.entry(p))
		}
		return conn.Do(ctx, args...).Err()
	}
	return redis.NewClient(&o)
}
