package cache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// manyStep is how many entries share a pipeline.
const manyStep = 200

// Item is an entry for [Cache.SaveMany].
type Item struct {
	Key   string
	Value any
	TTL   time.Duration // 0: for ever
}

// SaveMany saves entries, each as [Cache.Save] does, in few round trips. The entries are
// independent of each other: the error joins the errors of those that were not saved; all
// others were saved.
func (c *Cache) SaveMany(ctx context.Context, items []Item) (err error) {
	if c.observer != nil {
		defer c.done("save many", "", time.Now(), &err)
	}
	var errs []error
	for step := range slices.Chunk(items, manyStep) {
		var writes []write
		var b bulk
		for _, item := range step {
			w, err := c.newWrite(ctx, item.Key, item.Value, SaveOptions{TTL: item.TTL})
			if err != nil {
				errs = append(errs, err)
				continue
			}
			writes = append(writes, w)
			b.add(w.keys, w.args())
		}
		for i, reply := range c.bulk(ctx, c.scripts.save, b) {
			w := writes[i]
			c.near.forget(w.keys[0])
			if _, err := link.ReplyOf(reply); err != nil {
				errs = append(errs, failed("save", w.key, err))
			}
		}
	}
	return errors.Join(errs...)
}

// LoadMany loads entries, each as [Cache.Load] does, in few round trips. The result lacks
// missing and expired entries; the error joins the errors of all others that could not be
// loaded.
func (c *Cache) LoadMany(ctx context.Context, keys []string) (found map[string]Entry, err error) {
	if c.observer != nil {
		defer c.done("load many", "", time.Now(), &err)
	}
	var errs []error
	found = make(map[string]Entry, len(keys))
	for step := range slices.Chunk(keys, manyStep) {
		errs = append(errs, c.loadStep(ctx, step, found))
	}
	return found, errors.Join(errs...)
}

func (c *Cache) loadStep(ctx context.Context, keys []string, found map[string]Entry) error {
	var errs []error
	var asked []string
	var b bulk
	for _, key := range keys {
		if err := check("load", key); err != nil {
			errs = append(errs, err)
			continue
		}
		names, args, err := c.loadRequest(ctx, key, c.names.entry(key), LoadOptions{})
		if err != nil {
			return refused("load", key, err)
		}
		asked = append(asked, key)
		b.add(names, args)
	}
	for i, reply := range c.bulk(ctx, c.scripts.load, b) {
		e, err := c.reply(asked[i], reply)
		if err == nil {
			found[asked[i]] = e
		} else if !errors.Is(err, ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// reply reads the reply to lua/load.lua in a pipeline.
func (c *Cache) reply(key string, cmd *redis.Cmd) (Entry, error) {
	reply, err := link.ReplyOf(cmd)
	e, _, err := c.loaded(key, reply, err)
	return e, err
}

// bulk has the keys and arguments of several runs of one script.
type bulk struct {
	keys [][]string
	args [][]any
}

func (b *bulk) add(keys []string, args []any) {
	b.keys, b.args = append(b.keys, keys), append(b.args, args)
}

// bulk runs a script many times in one pipeline. Runs that fail because Redis has
// forgotten the script are repeated.
func (c *Cache) bulk(ctx context.Context, s *link.Script, b bulk) []*redis.Cmd {
	if len(b.keys) == 0 {
		return nil
	}
	p := c.client.Pipeline()
	replies := make([]*redis.Cmd, len(b.keys))
	for i := range b.keys {
		replies[i] = s.Run(ctx, p, b.keys[i], b.args[i]...)
	}
	_, _ = p.Exec(ctx) // each reply has its own error
	for i := range b.keys {
		if redis.HasErrorPrefix(replies[i].Err(), "NOSCRIPT") {
			replies[i] = s.Run(ctx, c.client, b.keys[i], b.args[i]...)
		}
	}
	return replies
}
