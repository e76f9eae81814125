package cache_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// model is what the cache must be: a map in the memory of one goroutine, on the
// same clock.
type model struct {
	t       *rapid.T
	ctx     context.Context
	nodes   []*cache.Cache // several incarnations; none of them ever stops acting
	entries map[string]*modelEntry
	held    map[string]int // key → index in locks
	locks   []*modelLock
}

type modelEntry struct {
	list    []int
	value   int
	expires time.Time // zero: never
}

type modelLock struct {
	*cache.Lock
	node  int
	until time.Time
}

var modelKeys = []string{"a", "b"}

func TestCacheBehavesAsAMapInOneMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := redistest.Embedded(t).Config()
		client := redistest.Client(t, cfg)
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) { // hides t.Deadline, which a bubble has not
			require.NoError(rt, client.FlushAll(t.Context()).Err())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			m := &model{t: rt, ctx: ctx, entries: map[string]*modelEntry{}, held: map[string]int{}}
			for i := range 3 {
				m.nodes = append(m.nodes, cache.New(cache.Config{Client: client, Keys: cfg.Keys(), Holder: fmt.Sprint("node#", i)}))
			}
			rt.Repeat(map[string]func(*rapid.T){
				"save": m.save, "load": m.load, "destroy": m.destroy, "increment": m.increment, "push": m.push,
				"pop": m.pop, "touch": m.touch, "lock": m.lock, "unlock": m.unlock, "renew": m.renew,
				"crash": m.crash, "sleep": m.sleep,
			})
		})
	})
}

func (m *model) node(t *rapid.T) *cache.Cache { return rapid.SampledFrom(m.nodes).Draw(t, "node") }
func (m *model) key(t *rapid.T) string        { return rapid.SampledFrom(modelKeys).Draw(t, "key") }

func (m *model) duration(t *rapid.T) time.Duration {
	return time.Duration(rapid.IntRange(1, 40).Draw(t, "ms")) * time.Millisecond
}

// entry is what is there now.
func (m *model) entry(key string) *modelEntry {
	if e := m.entries[key]; e != nil && (e.expires.IsZero() || time.Now().Before(e.expires)) {
		return e
	}
	delete(m.entries, key)
	return nil
}

func (m *model) holder(key string) int {
	if i, ok := m.held[key]; ok && time.Now().Before(m.locks[i].until) {
		return i
	}
	delete(m.held, key)
	return -1
}

// as draws on whose behalf a write is made, and says how a lock would refuse it.
// What is drawn may be a lock that ended long ago.
func (m *model) as(t *rapid.T, key string) (context.Context, error) {
	i := rapid.IntRange(-1, len(m.locks)-1).Draw(t, "as")
	holder := m.holder(key)
	switch {
	case i < 0 || m.locks[i].Key() != key:
		if holder >= 0 {
			return m.ctx, cache.ErrLocked
		}
		return m.ctx, nil
	case i != holder:
		return context.WithoutCancel(m.locks[i].Context()), cache.ErrLockLost
	default:
		return context.WithoutCancel(m.locks[i].Context()), nil
	}
}

func (m *model) expect(t *rapid.T, err, want error) bool {
	if want == nil {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, want)
	}
	return want == nil
}

func (m *model) save(t *rapid.T) {
	key, value := m.key(t), rapid.IntRange(-3, 3).Draw(t, "value")
	ctx, want := m.as(t, key)
	if e := m.entry(key); want == nil && e != nil && e.list != nil {
		want = cache.ErrWrongType
	}
	e := &modelEntry{value: value}
	var ttl time.Duration
	if rapid.Bool().Draw(t, "ends") {
		ttl = m.duration(t)
		e.expires = time.Now().Add(ttl)
	}
	if m.expect(t, m.node(t).Save(ctx, key, value, ttl), want) {
		m.entries[key] = e
	}
}

func (m *model) load(t *rapid.T) {
	key := m.key(t)
	e, err := m.node(t).Load(m.ctx, key)
	want := m.entry(key)
	switch {
	case want == nil:
		require.ErrorIs(t, err, cache.ErrNotFound)
	case want.list != nil:
		require.ErrorIs(t, err, cache.ErrWrongType)
	default:
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(want.value), string(e.Value))
		require.Equal(t, want.expires.IsZero(), e.Expires.IsZero())
		if !e.Expires.IsZero() {
			require.Equal(t, want.expires.UnixMilli(), e.Expires.UnixMilli())
		}
	}
}

func (m *model) touch(t *rapid.T) {
	key, ttl := m.key(t), m.duration(t)
	err := m.node(t).Touch(m.ctx, key, ttl)
	e := m.entry(key)
	switch {
	case e == nil:
		require.ErrorIs(t, err, cache.ErrNotFound)
	case e.list != nil:
		require.ErrorIs(t, err, cache.ErrWrongType)
	default:
		require.NoError(t, err)
		if end := time.Now().Add(ttl); !e.expires.IsZero() && end.After(e.expires) {
			e.expires = end
		}
	}
}

func (m *model) destroy(t *rapid.T) {
	key := m.key(t)
	ctx, want := m.as(t, key)
	there, err := m.node(t).Destroy(ctx, key)
	if m.expect(t, err, want) {
		require.Equal(t, m.entry(key) != nil, there)
		delete(m.entries, key)
	}
}

func (m *model) increment(t *rapid.T) {
	key, delta := m.key(t), rapid.IntRange(-3, 3).Draw(t, "delta")
	ctx, want := m.as(t, key)
	e := m.entry(key)
	if want == nil && e != nil && e.list != nil {
		want = cache.ErrWrongType
	}
	sum, err := m.node(t).Increment(ctx, key, int64(delta))
	if m.expect(t, err, want) {
		if e == nil {
			e = &modelEntry{}
			m.entries[key] = e
		}
		e.value += delta
		require.EqualValues(t, e.value, sum)
	}
}

func (m *model) push(t *rapid.T) {
	key, item := m.key(t), rapid.IntRange(0, 9).Draw(t, "item")
	n, err := m.node(t).Push(m.ctx, key, item)
	e := m.entry(key)
	if e != nil && e.list == nil {
		require.ErrorIs(t, err, cache.ErrWrongType)
		return
	}
	require.NoError(t, err)
	if e == nil {
		e = &modelEntry{}
		m.entries[key] = e
	}
	e.list = append(e.list, item)
	require.EqualValues(t, len(e.list), n)
}

func (m *model) pop(t *rapid.T) {
	key := m.key(t)
	item, err := m.node(t).Pop(m.ctx, key)
	e := m.entry(key)
	switch {
	case e == nil:
		require.ErrorIs(t, err, cache.ErrNotFound)
	case e.list == nil:
		require.ErrorIs(t, err, cache.ErrWrongType)
	default:
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(e.list[0]), string(item))
		if e.list = e.list[1:]; len(e.list) == 0 {
			delete(m.entries, key)
		}
	}
}

func (m *model) lock(t *rapid.T) {
	key, ttl, node := m.key(t), m.duration(t), rapid.IntRange(0, 2).Draw(t, "node")
	holder := m.holder(key)
	l, err := m.nodes[node].LockWith(m.ctx, key, cache.LockOptions{TTL: ttl, NoRenew: true})
	if holder >= 0 {
		require.ErrorIs(t, err, cache.ErrLocked)
		return
	}
	require.NoError(t, err)
	for _, earlier := range m.locks {
		require.Greater(t, l.Fence(), earlier.Fence())
	}
	m.locks = append(m.locks, &modelLock{l, node, time.Now().Add(ttl)})
	m.held[key] = len(m.locks) - 1
}

func (m *model) unlock(t *rapid.T) {
	if len(m.locks) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.locks)-1).Draw(t, "lock")
	l := m.locks[i]
	var want error
	if m.holder(l.Key()) != i {
		want = cache.ErrLockLost
	}
	if m.expect(t, l.Unlock(), want) {
		delete(m.held, l.Key())
	}
	require.Error(t, l.Context().Err())
}

func (m *model) renew(t *rapid.T) {
	if len(m.locks) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.locks)-1).Draw(t, "lock")
	err := m.locks[i].Renew(m.ctx)
	if m.holder(m.locks[i].Key()) != i {
		require.ErrorIs(t, err, cache.ErrLockLost)
		return
	}
	require.NoError(t, err)
	info, held, err := m.nodes[0].CheckLock(m.ctx, m.locks[i].Key())
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, m.locks[i].Fence(), info.Fence)
	m.locks[i].until = info.Expires.Add(time.Duration(time.Now().Nanosecond() % 1e6)) // the clock's own fraction
}

// crash is what others see of it: the node itself goes on with what it believes.
func (m *model) crash(t *rapid.T) {
	node, want := rapid.IntRange(0, 2).Draw(t, "node"), 0
	for _, key := range modelKeys {
		if i := m.holder(key); i >= 0 && m.locks[i].node == node {
			want++
			delete(m.held, key)
		}
	}
	freed, err := m.nodes[0].ReleaseAll(m.ctx, fmt.Sprint("node#", node))
	require.NoError(t, err)
	require.Equal(t, want, freed)
}

func (m *model) sleep(t *rapid.T) {
	time.Sleep(m.duration(t))
	synctest.Wait()
	for i, l := range m.locks {
		if m.holder(l.Key()) == i {
			require.NoError(t, l.Context().Err())
		} else if !time.Now().Before(l.until) {
			require.ErrorIs(t, l.Context().Err(), context.Canceled, "a lock that is over has told its holder")
		}
	}
}
