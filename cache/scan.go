package cache

import (
	"context"
	"iter"
	"slices"
	"strings"
)

// Bounds of one step over the keyspace: how many keys Redis looks at in one
// SCAN, and how many entries one script touches.
const (
	scanStep  = 1000
	clearStep = 100
)

// Keys yields the keys of the entries and lists that match a glob pattern ("*"
// for all), in no order. It asks Redis in bounded steps, so that Redis serves others in
// between: a key that is created or destroyed meanwhile may be missing, and a key
// may come twice while Redis resizes its table.
func (c *Cache) Keys(ctx context.Context, glob string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for keys, err := range c.scan(ctx, c.names.cachePrefix, glob) {
			if err != nil {
				yield("", failed("keys", glob, err))
				return
			}
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
			}
		}
	}
}

// Size counts the keys that [Cache.Keys] yields.
func (c *Cache) Size(ctx context.Context, glob string) (int, error) {
	n := 0
	for keys, err := range c.scan(ctx, c.names.cachePrefix, glob) {
		if err != nil {
			return n, failed("size", glob, err)
		}
		n += len(keys)
	}
	return n, nil
}

// Clear destroys the entries and lists that match a glob pattern ("*" for all)
// and returns how many it destroyed. Entries whose lock another holds stay, and so do all
// locks. The prefix of a compatibility preset may lack a separator at its end, as
// "stellar:cache" does: then Clear also destroys keys with a longer prefix, such as
// "stellar:cache2:", as the other programs do.
func (c *Cache) Clear(ctx context.Context, glob string) (int, error) {
	done, err := c.ClearWith(ctx, glob, ClearOptions{})
	return done.Entries, err
}

// ClearOptions say how to clear.
type ClearOptions struct {
	// Report is called now and then.
	Report func(Progress)
}

// ClearWith is [Cache.Clear], and also returns how many entries stayed because another holds
// their lock (Progress.Skipped). After an error it returns how far it came.
func (c *Cache) ClearWith(ctx context.Context, glob string, o ClearOptions) (done Progress, err error) {
	for keys, err := range c.scan(ctx, c.names.cachePrefix, glob) {
		if err != nil {
			return done, failed("clear", glob, err)
		}
		for step := range slices.Chunk(keys, clearStep) {
			n, refusals, err := c.destroy(ctx, step...)
			if err != nil {
				return done, failed("clear", glob, err)
			}
			done.Entries += n
			done.Skipped += len(refusals)
			if o.Report != nil {
				o.Report(done)
			}
		}
	}
	return done, nil
}

// scan yields, in steps, the keys (without the prefix) whose Redis keys begin with the
// prefix and continue with a match of the glob pattern.
func (c *Cache) scan(ctx context.Context, prefix, glob string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for cursor := uint64(0); ; {
			names, next, err := c.client.Scan(ctx, cursor, pattern(prefix, glob), scanStep).Result()
			if err != nil {
				yield(nil, err)
				return
			}
			keys := names[:0]
			for _, name := range names {
				if key, ok := strings.CutPrefix(name, prefix); ok && key != "" {
					keys = append(keys, key)
				}
			}
			if len(keys) > 0 && !yield(keys, nil) {
				return
			}
			if cursor = next; cursor == 0 {
				return
			}
		}
	}
}
