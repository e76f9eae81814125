package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus"
)

// Counts says where the tasks of a namespace are.
type Counts struct {
	Pending     int64 `json:"pending"` // in a queue or parked
	Delayed     int64 `json:"delayed"` // waiting for their time, retries included
	Active      int64 `json:"active"`  // in the hands of a node
	Dead        int64 `json:"dead"`
	Done        int64 `json:"done"`        // completed, ever
	Failed      int64 `json:"failed"`      // failed runs that were tried again, ever
	HandedOn    int64 `json:"handedOn"`    // taken over from a node that ended, ever
	Quarantined int64 `json:"quarantined"` // dead after too many crashes, ever
}

// Counts reads where all tasks are. It looks at the places one after the other:
// a task that moves meanwhile may be counted in two or in none.
func (c *Client) Counts(ctx context.Context) (Counts, error) {
	var out Counts
	err := c.count(ctx, &out)
	if err != nil {
		return Counts{}, fmt.Errorf("count tasks: %w", redisbus.Explain(err))
	}
	return out, nil
}

func (c *Client) count(ctx context.Context, out *Counts) error {
	k := c.keys
	var queues, parked, leases *redis.StringSliceCmd
	var delayed, dead *redis.IntCmd
	var stats *redis.MapStringStringCmd
	_, err := c.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		queues, parked = p.SMembers(ctx, k.Queues()), p.SMembers(ctx, k.ParkedNames())
		leases = p.ZRange(ctx, k.Leases(), 0, -1)
		delayed, dead = p.ZCard(ctx, k.Delayed()), p.ZCard(ctx, k.Dead())
		stats = p.HGetAll(ctx, k.Stats())
		return nil
	})
	if err != nil {
		return err
	}
	out.Delayed, out.Dead = delayed.Val(), dead.Val()
	for name, to := range map[string]*int64{
		verbDone: &out.Done, "later": &out.Failed, "handed on": &out.HandedOn, "quarantined": &out.Quarantined,
	} {
		*to, _ = strconv.ParseInt(stats.Val()[name], 10, 64)
	}
	var pending, active []*redis.IntCmd
	_, err = c.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, q := range queues.Val() {
			pending = append(pending, p.LLen(ctx, k.Queue(q)))
		}
		for _, name := range parked.Val() {
			pending = append(pending, p.LLen(ctx, k.Parked(name)))
		}
		for _, incarnation := range leases.Val() {
			active = append(active, p.HLen(ctx, k.Owned(incarnation)))
		}
		return nil
	})
	for _, n := range pending {
		out.Pending += n.Val()
	}
	for _, n := range active {
		out.Active += n.Val()
	}
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil // a queue's key is something else's: no task is in it
	}
	return err
}

// ErrDead is wrapped by the error of [Client.Result] for a task that is dead.
var ErrDead = errors.New("task is dead")

// Result returns the result of a completed task (nil when its handler set none)
// and whether it has completed. It remembers only tasks with a retention or an
// id of the caller's choice; others are [ErrNotFound] once they are done.
func (c *Client) Result(ctx context.Context, id string) (result json.RawMessage, done bool, err error) {
	k := c.keys
	var completed, died *redis.FloatCmd
	var value, reason *redis.StringCmd
	var stored *redis.BoolCmd
	_, err = c.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		completed, died = p.ZScore(ctx, k.Done(), id), p.ZScore(ctx, k.Dead(), id)
		value, reason = p.HGet(ctx, k.Results(), id), p.HGet(ctx, k.Reasons(), id)
		stored = p.HExists(ctx, k.Tasks(), id)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, false, fmt.Errorf("result of %s: %w", id, redisbus.Explain(err))
	}
	switch {
	case completed.Err() == nil:
		if value.Err() == nil {
			result = json.RawMessage(value.Val())
		}
		return result, true, nil
	case died.Err() == nil:
		var why Reason
		_ = json.Unmarshal([]byte(reason.Val()), &why)
		return nil, false, fmt.Errorf("%w: %s: %s: %s", ErrDead, id, why.Reason, why.Error)
	case stored.Val():
		return nil, false, nil
	default:
		return nil, false, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
}

// Wait returns the result of a task as soon as it is done. It looks every few
// milliseconds at first, and every 250 ms later.
func (c *Client) Wait(ctx context.Context, id string) (json.RawMessage, error) {
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		result, done, err := c.Result(ctx, id)
		if err != nil || done {
			return result, err
		}
		if err := redisbus.Sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("wait for %s: %w", id, err)
		}
	}
}
