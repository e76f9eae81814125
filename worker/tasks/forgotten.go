package tasks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Forgotten are tasks that are due and that no live node may run.
type Forgotten struct {
	Queue string `json:"queue"`
	// Name is that of parked tasks: no node that looked at them handles it. It is empty for
	// the tasks of a queue that no live node serves.
	Name  string `json:"name,omitempty"`
	Tasks int64  `json:"tasks"` // how many
}

// Forgotten returns the tasks that wait for a node that handles their name, or that serves
// their queue. For a moment there may be some that a node claims next.
func (i *Inspector) Forgotten(ctx context.Context) ([]Forgotten, error) {
	parked, pending, err := i.waiting(ctx)
	if err != nil || len(pending) == 0 {
		return parked, err
	}
	err = i.servers(ctx, func(s server) bool {
		pending = slices.DeleteFunc(pending, func(f Forgotten) bool { return s.serves(f.Queue) })
		return len(pending) > 0
	})
	if err != nil {
		return nil, fmt.Errorf("forgotten tasks: %w", link.Explain(err))
	}
	return append(parked, pending...), nil
}

// waiting counts the parked tasks of each name, and the tasks in the lines of each queue.
func (i *Inspector) waiting(ctx context.Context) (parked, pending []Forgotten, err error) {
	k := i.keys
	var lists, queues *redis.StringSliceCmd
	_, err = i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		lists, queues = p.SMembers(ctx, k.ParkedLists()), p.SMembers(ctx, k.Ready())
		return nil
	})
	var counts []*redis.IntCmd
	if err == nil && len(lists.Val())+len(queues.Val()) > 0 {
		_, err = i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, list := range lists.Val() {
				of, name, _ := strings.Cut(list, "|")
				parked = append(parked, Forgotten{Queue: of, Name: name})
				counts = append(counts, p.LLen(ctx, k.Parked(of, name)))
			}
			for _, name := range queues.Val() {
				pending = append(pending, Forgotten{Queue: name})
				for _, line := range queue.Lines(name) {
					counts = append(counts, p.LLen(ctx, k.Queue(line)))
				}
			}
			return nil
		})
		if link.IsWrongType(err) {
			err = nil // a key that is something else's holds no task
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("forgotten tasks: %w", link.Explain(err))
	}
	for n := range parked {
		parked[n].Tasks, counts = counts[0].Val(), counts[1:]
	}
	for n := range pending {
		for range queue.Lines(pending[n].Queue) {
			pending[n].Tasks, counts = pending[n].Tasks+counts[0].Val(), counts[1:]
		}
	}
	none := func(f Forgotten) bool { return f.Tasks == 0 }
	return slices.DeleteFunc(parked, none), slices.DeleteFunc(pending, none), nil
}

// server is a live incarnation that serves queues.
type server struct {
	incarnation string
	named, list string // its queues, or their stored list
	serves      func(queue string) bool
	quiet       bool
}

// serversBatch is how many incarnations [Inspector.servers] reads with one request.
const serversBatch = 100

// servers calls f with the live incarnations that have claimed, or are quiet, until f returns
// false. It skips those whose stream is something else's key.
func (i *Inspector) servers(ctx context.Context, f func(server) bool) error {
	leases, err := i.redis.ZRangeArgs(ctx, redis.ZRangeArgs{Key: i.keys.Leases(), Start: "(0", Stop: "+inf", ByScore: true}).Result()
	if err != nil {
		return err
	}
	stored := map[string]map[string]struct{}{}
	for some := range slices.Chunk(leases, serversBatch) {
		streams := make([]*redis.SliceCmd, len(some))
		_, err := i.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n, incarnation := range some {
				streams[n] = p.HMGet(ctx, i.keys.Stream(incarnation), "queues", "quiet", "list")
			}
			return nil
		})
		if err != nil && !link.IsWrongType(err) {
			return err
		}
		for n, stream := range streams {
			if stream.Err() != nil {
				continue
			}
			named, _ := stream.Val()[0].(string)
			list, _ := stream.Val()[2].(string)
			if list != "" && stored[list] == nil {
				if stored[list], err = i.storedList(ctx, list); err != nil {
					return err
				}
			}
			serves := func(queue string) bool {
				_, has := stored[list][queue]
				return has || slices.Contains(strings.Fields(named), queue)
			}
			if !f(server{some[n], named, list, serves, stream.Val()[1] != nil}) {
				return nil
			}
		}
	}
	return nil
}

// storedList returns the queues of a stored list; none if its key is something else's.
func (i *Inspector) storedList(ctx context.Context, list string) (map[string]struct{}, error) {
	queues, err := i.redis.ZRange(ctx, i.keys.Serves(list), 0, -1).Result()
	if err != nil && !link.IsWrongType(err) {
		return nil, err
	}
	all := make(map[string]struct{}, len(queues))
	for _, q := range queues {
		all[q] = struct{}{}
	}
	return all, nil
}

// Serves reports whether a live node serves the queue, also one that is quiet.
func (i *Inspector) Serves(ctx context.Context, queue string) (bool, error) {
	claiming, quiet, err := i.serving(ctx, queue)
	if err != nil {
		return false, fmt.Errorf("nodes of queue %s: %w", queue, link.Explain(err))
	}
	return len(claiming)+len(quiet) > 0, nil
}

// serving returns the live incarnations that claim from a queue, and those that
// serve it but are quiet.
func (i *Inspector) serving(ctx context.Context, queue string) (claiming, quiet []string, err error) {
	err = i.servers(ctx, func(s server) bool {
		switch {
		case !s.serves(queue):
		case s.quiet:
			quiet = append(quiet, s.incarnation)
		default:
			claiming = append(claiming, s.incarnation)
		}
		return true
	})
	return claiming, quiet, err
}
