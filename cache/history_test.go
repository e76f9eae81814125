package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// call is an operation of a recorded history.
type call struct {
	op, key string
	arg     int
	token   string // lock histories: the acquisition that acts
}

// outcome is its answer. An unknown one may have run, then or at any time later.
type outcome struct {
	unknown bool
	value   int64
	ok      bool
}

// history collects operations of concurrent clients.
type history struct {
	start time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

// record runs an operation. An error that says that it did not run leaves it out.
func (h *history) record(client int, in call, run func() (outcome, error)) (outcome, error) {
	begin := time.Since(h.start).Nanoseconds()
	out, err := run()
	end := time.Since(h.start).Nanoseconds()
	if errors.Is(err, link.ErrUnavailable) {
		return out, err
	}
	if err != nil {
		out = outcome{unknown: true}
		end = 1 << 62
	}
	if err != nil && in.op == "write" { // no change of the state, no answer: nothing to check
		return out, err
	}
	h.add(client, in, out, begin, end)
	return out, err
}

func (h *history) add(client int, in call, out outcome, begin, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: begin, Return: end})
}

// searchTime bounds the search for an order of the operations. It takes seconds; a bound that
// is too short is no answer.
const searchTime = 5 * time.Minute

// check fails unless some order of the operations, each between its call and its
// return, explains all answers.
func (h *history) check(t *testing.T, step func(state any, in call, out outcome) []any, initial any) {
	t.Helper()
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{initial} },
		Step: func(state, in, out any) []any { return step(state, in.(call), out.(outcome)) },
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[string][]porcupine.Operation{}
			for _, op := range all {
				byKey[op.Input.(call).key] = append(byKey[op.Input.(call).key], op)
			}
			var parts [][]porcupine.Operation
			for _, part := range byKey {
				parts = append(parts, part)
			}
			return parts
		},
		Equal: func(a, b any) bool { return a == b },
	}
	unknown := 0
	for _, op := range h.ops {
		if op.Output.(outcome).unknown {
			unknown++
		}
	}
	t.Logf("%d operations, %d of them with an unknown outcome", len(h.ops), unknown)
	require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(model.ToModel(), h.ops, searchTime))
}

// storm runs clients on caches of their own while connections are cut.
func storm(t *testing.T, steps int, client func(h *history, id, step int, node func() *cache.Cache)) (*history, link.Config) {
	t.Helper()
	server := redistest.Start(t)
	p := newProxy(t, server.Config())
	h := &history{start: time.Now()}
	ctx, cancel := context.WithCancel(t.Context())
	var cutter, all sync.WaitGroup
	cutter.Go(func() {
		for link.Sleep(ctx, 12*time.Millisecond) == nil {
			p.drop()
		}
	})
	shared := open(t, p.config())
	for id := range 6 {
		own := open(t, p.config())
		all.Go(func() {
			for step := range steps {
				client(h, id, step, func() *cache.Cache { // half of them share a node
					if id%2 == 0 {
						return shared
					}
					return own
				})
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			}
		})
	}
	all.Wait()
	cancel()
	cutter.Wait()
	return h, server.Config()
}

const none = -1 << 30

func TestHistoriesOfValuesAreLinearizable(t *testing.T) {
	ctx := t.Context()
	h, _ := storm(t, 100, func(h *history, id, step int, node func() *cache.Cache) {
		c, key, value := node(), fmt.Sprint("k", rand.IntN(4)), id*1000+step
		switch rand.IntN(6) {
		case 0, 1:
			_, _ = h.record(id, call{op: "save", key: key, arg: value}, func() (outcome, error) {
				return outcome{}, c.Save(ctx, key, value, 0)
			})
		case 2:
			_, _ = h.record(id, call{op: "destroy", key: key}, func() (outcome, error) {
				there, err := c.Destroy(ctx, key)
				return outcome{ok: there}, err
			})
		case 3:
			_, _ = h.record(id, call{op: "increment", key: key, arg: 1}, func() (outcome, error) {
				sum, err := c.Increment(ctx, key, 1)
				return outcome{value: sum}, err
			})
		default:
			_, _ = h.record(id, call{op: "load", key: key}, func() (outcome, error) {
				v, err := cache.Get[int](ctx, c, key)
				if errors.Is(err, cache.ErrNotFound) {
					return outcome{value: none}, nil
				}
				return outcome{value: int64(v)}, err
			})
		}
	})
	h.check(t, func(state any, in call, out outcome) []any {
		v, next := state.(int), state.(int)
		fits := true
		switch in.op {
		case "save":
			next = in.arg
		case "destroy":
			fits, next = out.ok == (v != none), none
		case "increment":
			if v == none {
				v = 0
			}
			next = v + in.arg
			fits = out.value == int64(next)
		case "load":
			fits = out.value == int64(v)
		}
		if out.unknown {
			return []any{state, next}
		}
		if !fits {
			return nil
		}
		return []any{next}
	}, none)
}

func TestHistoriesOfListsAreLinearizable(t *testing.T) {
	ctx := t.Context()
	h, _ := storm(t, 80, func(h *history, id, step int, node func() *cache.Cache) {
		c, key, item := node(), fmt.Sprint("l", rand.IntN(4)), id*1000+step
		if rand.IntN(2) == 0 {
			_, _ = h.record(id, call{op: "push", key: key, arg: item}, func() (outcome, error) {
				n, err := c.Push(ctx, key, item)
				return outcome{value: n}, err
			})
			return
		}
		_, _ = h.record(id, call{op: "pop", key: key}, func() (outcome, error) {
			v, err := cache.PopAs[int](ctx, c, key, 0)
			if errors.Is(err, cache.ErrNotFound) {
				return outcome{value: none}, nil
			}
			return outcome{value: int64(v)}, err
		})
	})
	h.check(t, func(state any, in call, out outcome) []any {
		var items []int
		if err := json.Unmarshal([]byte(state.(string)), &items); err != nil {
			panic(err)
		}
		var fits bool
		if in.op == "push" {
			items = append(items, in.arg)
			fits = out.value == int64(len(items))
		} else if len(items) > 0 {
			fits = out.value == int64(items[0])
			items = items[1:]
		} else {
			fits = out.value == none
		}
		b, _ := json.Marshal(items)
		if out.unknown {
			return []any{state, string(b)}
		}
		if !fits {
			return nil
		}
		return []any{string(b)}
	}, "[]")
}

// grant is a lock's state in the model: who holds it, and the last fence.
type grant struct {
	token string
	fence int64
}

func TestHistoriesOfLocksAreLinearizable(t *testing.T) {
	ctx := t.Context()
	var serial sync.Map // id → what this client has in hand
	h, _ := storm(t, 80, func(h *history, id, step int, node func() *cache.Cache) {
		c := node()
		lock, _ := serial.Load(id)
		l, _ := lock.(*cache.Lock)
		key := fmt.Sprint("k", rand.IntN(5))
		switch {
		case l == nil:
			takes(ctx, h, id, step, key, c, func(l *cache.Lock) { serial.Store(id, l) })
		case rand.IntN(3) > 0: // also long after the lock was lost
			asHolder, in := context.WithoutCancel(l.Context()), call{op: "write", key: l.Key(), token: fmt.Sprint(l.Fence())}
			_, _ = h.record(id, in, func() (outcome, error) {
				err := c.Save(asHolder, l.Key(), step, 0)
				if errors.Is(err, cache.ErrLockLost) {
					return outcome{}, nil
				}
				return outcome{ok: true}, err
			})
		default:
			serial.Delete(id)
			_, _ = h.record(id, call{op: "unlock", key: l.Key(), token: fmt.Sprint(l.Fence())}, func() (outcome, error) {
				err := l.Unlock()
				if errors.Is(err, cache.ErrLockLost) {
					return outcome{}, nil
				}
				// A repeated request cannot tell whether it or a crash has freed it.
				return outcome{ok: true, value: 1}, err
			})
		}
		if rand.IntN(25) == 0 { // the crash of one node, seen by another; its clients go on
			begin := time.Since(h.start).Nanoseconds()
			_, err := c.ReleaseAll(ctx, "node#1:a")
			end := time.Since(h.start).Nanoseconds()
			for _, key := range []string{"k0", "k1", "k2", "k3", "k4"} {
				out := outcome{unknown: err != nil}
				if err != nil {
					end = 1 << 62
				}
				h.add(id, call{op: "crash", key: key}, out, begin, end)
			}
		}
	})
	h.check(t, lockStep, grant{})
}

// takes tries a lock. An unknown outcome may have taken it, and the library may
// have freed it again at any time after.
func takes(ctx context.Context, h *history, id, step int, key string, c *cache.Cache, got func(*cache.Lock)) {
	begin := time.Since(h.start).Nanoseconds()
	in := call{op: "lock", key: key, token: fmt.Sprint("?", id, ".", step)}
	_, err := h.record(id, in, func() (outcome, error) {
		l, err := c.TryLock(ctx, key, time.Minute)
		if errors.Is(err, cache.ErrLocked) {
			return outcome{}, nil
		}
		if err != nil {
			return outcome{}, err
		}
		got(l)
		return outcome{ok: true, value: l.Fence()}, nil
	})
	if err != nil {
		h.add(id, call{op: "unlock", key: key, token: in.token}, outcome{unknown: true}, begin, 1<<62)
	}
}

func lockStep(state any, in call, out outcome) []any {
	g := state.(grant)
	free := grant{fence: g.fence}
	switch in.op {
	case "lock":
		switch {
		case out.unknown && g.token == "":
			return []any{g, grant{token: in.token, fence: g.fence}}
		case out.unknown || (!out.ok && g.token != ""):
			return []any{g}
		case out.ok && g.token == "" && out.value > g.fence:
			return []any{grant{token: fmt.Sprint(out.value), fence: out.value}}
		}
		return nil
	case "write":
		if out.unknown || out.ok == (g.token == in.token) {
			return []any{g}
		}
		return nil
	case "unlock":
		if g.token != in.token {
			if out.unknown || !out.ok || out.value == 1 {
				return []any{g}
			}
			return nil
		}
		if out.unknown {
			return []any{g, free}
		}
		if out.ok {
			return []any{free}
		}
		return nil
	case "crash":
		if out.unknown && g.token != "" {
			return []any{g, free}
		}
		return []any{free}
	}
	return nil
}
