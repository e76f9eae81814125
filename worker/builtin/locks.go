package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/rpcregistry"
)

// callerLocks has the locks that this node holds for callers of api.cache.lock.
//
// Such a lock is held for its TTL and not renewed, because the node cannot know
// whether the caller still lives. It ends earlier with api.cache.unlock on the same
// node, and with the node. With the lock's fence the caller proves that the lock is its
// own: to unlock and destroy on this node, and to save on any node.
type callerLocks struct {
	cache *cache.Cache
	node  string
	life  context.Context //nolint:containedctx // ends with the node's life: a lock outlives the call that took it

	mu   sync.Mutex
	held map[string]*cache.Lock // by key
}

func newCallerLocks(life context.Context, node string, c *cache.Cache) *callerLocks {
	return &callerLocks{cache: c, node: node, life: life, held: map[string]*cache.Lock{}}
}

// Arguments of the locks' methods.
type (
	lockArguments struct {
		Key  string        `json:"key"`
		TTL  time.Duration `json:"ttl,omitempty"`  // default 10 s
		Wait time.Duration `json:"wait,omitempty"` // at most as long as the call lasts
	}
	checkArguments struct {
		Key  string        `json:"key"`
		Wait time.Duration `json:"wait,omitempty"` // for the lock to be free
	}
	unlockArguments struct {
		Key   string `json:"key"`
		Fence int64  `json:"fence"`
	}
)

// CalledLock is the response of api.cache.lock. The lock is held by Node, for TTL
// milliseconds and without renewal.
type CalledLock struct {
	Key   string `json:"key"`
	Fence int64  `json:"fence"`
	Node  string `json:"node"`
	TTL   int64  `json:"ttlMs"`
}

// LockState is the response of api.cache.checkLock, and an item in the response of
// api.cache.locks.
type LockState struct {
	Key       string    `json:"key"`
	Held      bool      `json:"held"`
	Holder    string    `json:"holder,omitempty"`   // an incarnation, or a node of another implementation
	Fence     int64     `json:"fence,omitempty"`    // 0 where a node of another implementation holds the lock
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // on Redis's clock; a renewal moves it
}

func registerLocks(r rpcregistry.Registrar, c *cache.Cache, locks *callerLocks) {
	handleCache(r, "lock", locks.lock)
	handleCache(r, "unlock", func(_ context.Context, in unlockArguments) (bool, error) { return locks.unlock(in) })
	handleCache(rpcregistry.ByPosition(r, retryAsWait), "checkLock", func(ctx context.Context, in checkArguments) (LockState, error) {
		info, held, err := c.CheckLockFor(ctx, in.Key, in.Wait)
		if !held {
			return LockState{Key: in.Key}, err
		}
		return lockState(info), err
	})
	handleCache(r, "locks", func(ctx context.Context, in cacheMatch) ([]LockState, error) {
		all := []LockState{}
		for info, err := range c.Locks(ctx, orAll(in.Match)) {
			if err != nil {
				return nil, err
			}
			all = append(all, lockState(info))
		}
		return all, nil
	})
}

func lockState(i cache.LockInfo) LockState {
	return LockState{Key: i.Key, Held: true, Holder: i.Holder, Fence: i.Fence, ExpiresAt: i.Expires.UTC()}
}

// lock takes a lock for the caller.
func (c *callerLocks) lock(call context.Context, in lockArguments) (CalledLock, error) {
	ttl := cmp.Or(in.TTL, cache.DefaultLockTTL)
	life, end := context.WithCancelCause(c.life)
	stop := context.AfterFunc(call, func() { end(context.Cause(call)) })
	l, err := c.cache.LockWith(life, in.Key, cache.LockOptions{TTL: ttl, Wait: in.Wait, NoRenew: true})
	if err != nil {
		stop()
		end(err)
		return CalledLock{}, err
	}
	if !stop() { // the call has ended: its caller does not get the fence
		return CalledLock{}, errors.Join(context.Cause(call), l.Unlock())
	}
	c.mu.Lock()
	c.held[in.Key] = l
	c.mu.Unlock()
	context.AfterFunc(l.Context(), func() {
		end(context.Canceled)
		c.forget(l)
	})
	return CalledLock{Key: in.Key, Fence: l.Fence(), Node: c.node, TTL: ttl.Milliseconds()}, nil
}

// find returns the lock with that fence, or nil.
func (c *callerLocks) find(key string, fence int64) *cache.Lock {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.held[key]; l != nil && l.Fence() == fence {
		return l
	}
	return nil
}

// forget drops a lock that has ended, unless the key was locked again.
func (c *callerLocks) forget(l *cache.Lock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[l.Key()] == l {
		delete(c.held, l.Key())
	}
}

// unlock reports whether this node held the lock with that fence until now.
func (c *callerLocks) unlock(in unlockArguments) (bool, error) {
	if in.Fence == 0 {
		return false, fmt.Errorf("%w: say which lock, by the fence that api.cache.lock answered: [%q, FENCE]",
			rpcregistry.ErrBadArguments, in.Key)
	}
	l := c.find(in.Key, in.Fence)
	if l == nil {
		return false, nil
	}
	err := l.Unlock()
	if errors.Is(err, cache.ErrLockLost) {
		return false, nil
	}
	return err == nil, err
}

// destroy removes an entry for the caller that holds its lock with that fence.
func (c *callerLocks) destroy(call context.Context, key string, fence int64) (bool, error) {
	l := c.find(key, fence)
	if l == nil {
		return false, fmt.Errorf("destroy %q: %w: %s does not hold it with the fence %d", key, cache.ErrLockLost, c.node, fence)
	}
	ctx, cancel := context.WithCancelCause(l.Context())
	defer cancel(nil)
	stop := context.AfterFunc(call, func() { cancel(context.Cause(call)) })
	defer stop()
	return c.cache.Destroy(ctx, key)
}
