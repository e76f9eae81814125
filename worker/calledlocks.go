package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/rpcregistry"
)

// calledLocks are the locks that this node holds for callers of api.cache.lock.
//
// Such a lock is held for its ttl and not renewed: nobody can tell whether its
// caller still lives. It ends earlier with api.cache.unlock on the same node,
// and with the node. Its fence proves who the caller is: on this node for
// unlock and destroy, on any for save.
type calledLocks struct {
	cache *cache.Cache
	node  string
	life  context.Context //nolint:containedctx // the node's: a lock outlives the call that took it

	mu   sync.Mutex
	held map[string]*cache.Lock // by key
}

func newCalledLocks(life context.Context, node string, c *cache.Cache) *calledLocks {
	return &calledLocks{cache: c, node: node, life: life, held: map[string]*cache.Lock{}}
}

// Arguments of the locks' methods, by name or by position in this order.
type (
	lockArguments struct {
		Key  string `json:"key"`
		TTL  int64  `json:"ttl,omitempty"`  // milliseconds; default 10 s
		Wait int64  `json:"wait,omitempty"` // milliseconds, as long as the call lasts at most
	}
	unlockArguments struct {
		Key   string `json:"key"`
		Fence int64  `json:"fence"`
	}
)

// CalledLock is what api.cache.lock answers. The lock is held by Node, for TTL
// milliseconds and without renewal.
type CalledLock struct {
	Key   string `json:"key"`
	Fence int64  `json:"fence"`
	Node  string `json:"node"`
	TTL   int64  `json:"ttl"`
}

// LockState is what api.cache.checkLock answers, and a list of them
// api.cache.locks.
type LockState struct {
	Key       string `json:"key"`
	Held      bool   `json:"held"`
	Holder    string `json:"holder,omitempty"`    // an incarnation, or another implementation's node
	Fence     int64  `json:"fence,omitempty"`     // none where another implementation holds it
	ExpiresAt int64  `json:"expiresAt,omitempty"` // milliseconds on Redis's clock, unless it is renewed
}

func registerLocks(r rpcregistry.Registrar, c *cache.Cache, locks *calledLocks) {
	handleCache(r, "lock", locks.lock)
	handleCache(r, "unlock", func(_ context.Context, in unlockArguments) (bool, error) { return locks.unlock(in) })
	handleCache(r, "checkLock", func(ctx context.Context, in cacheKey) (LockState, error) {
		info, held, err := c.CheckLock(ctx, in.Key)
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
	return LockState{Key: i.Key, Held: true, Holder: i.Holder, Fence: i.Fence, ExpiresAt: unixMilli(i.Expires)}
}

// lock takes a lock for the caller.
func (s *calledLocks) lock(call context.Context, in lockArguments) (CalledLock, error) {
	ttl, err := milliseconds(in.TTL)
	if err != nil {
		return CalledLock{}, err
	}
	wait, err := milliseconds(in.Wait)
	if err != nil {
		return CalledLock{}, err
	}
	if ttl == 0 {
		ttl = cache.DefaultLockTTL
	}
	life, end := context.WithCancelCause(s.life)
	stop := context.AfterFunc(call, func() { end(context.Cause(call)) })
	l, err := s.cache.LockWith(life, in.Key, cache.LockOptions{TTL: ttl, Wait: wait, NoRenew: true})
	if err != nil {
		stop()
		end(err)
		return CalledLock{}, err
	}
	if !stop() { // nobody is there any more to be told of it
		return CalledLock{}, errors.Join(context.Cause(call), l.Unlock())
	}
	s.mu.Lock()
	s.held[in.Key] = l
	s.mu.Unlock()
	context.AfterFunc(l.Context(), func() {
		end(context.Canceled)
		s.forget(l)
	})
	return CalledLock{Key: in.Key, Fence: l.Fence(), Node: s.node, TTL: ttl.Milliseconds()}, nil
}

// find returns the lock with that fence, or nil.
func (s *calledLocks) find(key string, fence int64) *cache.Lock {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.held[key]; l != nil && l.Fence() == fence {
		return l
	}
	return nil
}

// forget drops a lock that has ended, unless the key was locked again.
func (s *calledLocks) forget(l *cache.Lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[l.Key()] == l {
		delete(s.held, l.Key())
	}
}

// unlock reports whether this node held the lock with that fence until now.
func (s *calledLocks) unlock(in unlockArguments) (bool, error) {
	if in.Fence == 0 {
		return false, fmt.Errorf("%w: name the fence that api.cache.lock answered", rpcregistry.ErrBadArguments)
	}
	l := s.find(in.Key, in.Fence)
	if l == nil {
		return false, nil
	}
	err := l.Unlock()
	if errors.Is(err, cache.ErrLockLost) {
		return false, nil
	}
	return err == nil, err
}

// destroy removes an entry on behalf of who took its lock by call.
func (s *calledLocks) destroy(call context.Context, key string, fence int64) (bool, error) {
	l := s.find(key, fence)
	if l == nil {
		return false, fmt.Errorf("destroy %q: %w: %s does not hold it with the fence %d", key, cache.ErrLockLost, s.node, fence)
	}
	ctx, cancel := context.WithCancelCause(l.Context())
	defer cancel(nil)
	stop := context.AfterFunc(call, func() { cancel(context.Cause(call)) })
	defer stop()
	return s.cache.Destroy(ctx, key)
}
