package cache

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/resp"
)

// invalidations is the channel on which Redis announces changed keys.
const invalidations = "__redis__:invalidate"

// tracking names the near cache's work in reports: while it fails, all loads go to Redis.
const tracking = "near cache"

// Serve keeps the entries of [Near] up to date until ctx ends; if none are configured, it
// only waits for that. It always returns nil.
func (c *Cache) Serve(ctx context.Context) error {
	if c.near != nil {
		l := resp.Listener{
			Client: c.client.Client, Largest: redisbus.MaxMessage, Silence: c.near.cfg.MaxStale,
			Begin: c.track, Handle: c.invalidate, Lost: c.lostTrack,
		}
		l.Serve(ctx)
		c.near.off()
		c.reports.Ended(tracking)
	}
	<-ctx.Done()
	return nil
}

// track has Redis announce changed keys on the connection.
func (c *Cache) track(conn *resp.Conn) error {
	id, err := conn.Do("client", "id")
	if err != nil {
		return err
	}
	words := []string{"client", "tracking", "on", "redirect", id, "bcast"}
	for _, p := range c.near.cfg.Prefixes {
		words = append(words, "prefix", c.names.entry(p))
	}
	if _, err := conn.Do(words...); err != nil {
		return err
	}
	return conn.Subscribe(invalidations)
}

// invalidate removes a changed entry from memory. Loads are served from memory once Redis has
// confirmed the subscription.
func (c *Cache) invalidate(e resp.Event) {
	switch {
	case e.Kind == resp.Subscribed:
		c.near.flush()
		c.near.on.Store(true)
		c.reports.Works(tracking)
	case e.TooLarge: // the key is longer than any of an entry
		if c.dropped != nil {
			c.dropped(redisbus.DropSize)
		}
	case e.Kind == resp.Message && e.Payload == nil: // the keys of a database were flushed
		c.near.flush()
	case e.Kind == resp.Message:
		c.near.forget(string(e.Payload))
	}
}

// lostTrack makes all loads go to Redis, as changes may be missed. It reports whether to try again.
func (c *Cache) lostTrack(failures int, err error) bool {
	c.near.off()
	if link.OutcomeOf(err) == link.Ran && errors.As(err, new(redis.Error)) {
		c.log.Info().Err(err).Msg("cache: this server has no client-side caching; the near cache is off")
		return false
	}
	if failures >= link.FewTries {
		c.reports.Failed(tracking, err)
	}
	return true
}

// off makes all loads go to Redis.
func (n *near) off() {
	if n != nil {
		n.on.Store(false)
		n.flush()
	}
}
