package cache

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus"
)

// releaseStep is how many locks of a dead incarnation one script frees.
const releaseStep = 200

// LockInfo describes a held lock.
type LockInfo struct {
	Key     string
	Holder  string    // the incarnation, or the id of a node of another program (see [Preset])
	Fence   int64     // 0 for a lock of another program
	Expires time.Time // when it ends unless it is renewed; on Redis's clock
	Waited  bool      // others wait for it
}

// CheckLock returns who holds the lock of a key, and whether it is held.
func (c *Cache) CheckLock(ctx context.Context, key string) (info LockInfo, held bool, err error) {
	if c.observer != nil {
		defer c.done("check lock", key, time.Now(), &err)
	}
	if err := check("check lock", key); err != nil {
		return LockInfo{}, false, err
	}
	infos, err := c.holders(ctx, []string{key}, false)
	if err != nil {
		return LockInfo{}, false, failed("check lock", key, err)
	}
	if len(infos) == 0 {
		return LockInfo{}, false, nil
	}
	return infos[0], true, nil
}

// CheckLockFor is [Cache.CheckLock], and waits at most that long for the lock to be free. Held
// is of the end of that time.
func (c *Cache) CheckLockFor(ctx context.Context, key string, wait time.Duration) (info LockInfo, held bool, err error) {
	if wait <= 0 {
		return c.CheckLock(ctx, key)
	}
	err = c.whenFree(ctx, key, wait, func(ctx context.Context) error {
		if info, held, err = c.CheckLock(ctx, key); held {
			return ErrLocked
		}
		return err
	})
	if held && errors.Is(err, ErrLocked) {
		err = nil
	}
	return info, held, err
}

// Locks yields the held locks of the keys that match a glob pattern, in no order.
func (c *Cache) Locks(ctx context.Context, glob string) iter.Seq2[LockInfo, error] {
	return func(yield func(LockInfo, error) bool) {
		for keys, err := range c.scan(ctx, c.names.lockPrefix, glob) {
			var infos []LockInfo
			if err == nil && len(keys) > 0 {
				infos, err = c.holders(ctx, keys, false)
			}
			if err != nil {
				yield(LockInfo{}, failed("locks", glob, err))
				return
			}
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// holders describes the locks of the keys, leaving out those that are free. wake has the
// ends of the locks announced.
func (c *Cache) holders(ctx context.Context, keys []string, wake bool) ([]LockInfo, error) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = c.names.lock(key)
	}
	reply, err := c.scripts.holder.Call(ctx, c.client, names, wake)
	if err != nil {
		return nil, err
	}
	var infos []LockInfo
	for i, key := range keys {
		row := reply.Row(i)
		if row.IsNil() {
			continue
		}
		info := LockInfo{Key: key}
		var ms int64
		if err := row.Scan(&info.Holder, &info.Fence, &ms, &info.Waited); err != nil {
			return nil, err
		}
		if info.Fence != 0 {
			_, info.Holder, _ = strings.Cut(info.Holder, "/") // a token: nonce/holder
		}
		info.Expires = fromMillis(ms)
		infos = append(infos, info)
	}
	return infos, nil
}

// whenFree calls f, and again whenever the lock of the key is free, until f does not end
// with [ErrLocked] or the time bound is over.
func (c *Cache) whenFree(ctx context.Context, key string, bound time.Duration, f func(context.Context) error) error {
	err := f(ctx)
	if !errors.Is(err, ErrLocked) {
		return err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, bound, ErrLocked)
	defer cancel()
	err = c.await(waiting, c.names.lock(key), false, func() (time.Duration, error) {
		infos, err := c.holders(waiting, []string{key}, true)
		if err != nil {
			return 0, failed("wait for lock", key, err)
		}
		if len(infos) == 0 {
			return time.Millisecond, f(waiting)
		}
		if infos[0].Fence == 0 {
			return minNap, ErrLocked
		}
		return c.untilFree(infos[0]), ErrLocked
	})
	if err != nil && waiting.Err() != nil {
		return refused("wait for lock", key, context.Cause(waiting))
	}
	return err
}

// untilFree returns the time until a lock ends unless it is renewed. It compares Redis's
// clock with the host's, so the result only decides when to ask again.
func (c *Cache) untilFree(info LockInfo) time.Duration {
	return max(min(time.Until(info.Expires), redisbus.MaxNap), minNap)
}

// ReleaseAll frees all locks of an incarnation, wakes their waiters and returns how
// many locks there were. Call it only when the incarnation is gone for certain.
func (c *Cache) ReleaseAll(ctx context.Context, incarnation string) (int, error) {
	// Most incarnations hold no lock, and this costs Redis much less than the script.
	some, err := c.client.Exists(ctx, c.names.keys.LocksOf(incarnation)).Result()
	if err != nil {
		return 0, failed("release the locks of", incarnation, err)
	}
	total := 0
	for some > 0 {
		var looked, freed int
		reply, err := c.scripts.release.Call(ctx, c.client,
			[]string{c.names.keys.LocksOf(incarnation)}, incarnation, releaseStep)
		if err == nil {
			err = reply.Scan(&looked, &freed)
		}
		if err != nil {
			return total, failed("release the locks of", incarnation, err)
		}
		total += freed
		if looked < releaseStep {
			break
		}
	}
	return total, nil
}
