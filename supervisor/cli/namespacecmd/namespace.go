// Package namespacecmd has the command namespace, whose subcommands list and remove the
// namespaces that have data on a Redis.
package namespacecmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/membership"
)

// Commands returns the command namespace.
func Commands(e *cluster.Env) []*urfave.Command {
	return []*urfave.Command{{
		Name: "namespace", Usage: "list the namespaces on a Redis, and remove one",
		Description: "A namespace has the data of a cluster: its tasks, cache, locks and nodes.\n\n" +
			"   $0 namespace list\n" +
			"   $0 namespace remove old-tests",
		Commands: []*urfave.Command{
			{
				Name: "list", Usage: "list the namespaces that have data in the database",
				Description: "It walks all keys of the database, with pauses: other programs are not held up. What it counts is an estimate, as\n" +
					"others write meanwhile; so is the memory, measured on some keys of each kind.",
				ArgValidator: config.NoArguments, Flags: e.ClientFlags(), Action: e.Action(list),
			},
			removeCommand(e),
		},
		Action: config.WhichCommand,
	}}
}

// page is how many keys a step looks at.
const page = 1000

// walk calls f with the keys that match, in pages. Between two pages it waits for as long as the last
// one took: Redis serves others at least half of the time.
func walk(ctx context.Context, c *redis.Client, match string, f func(keys []string) error) error {
	for cursor := uint64(0); ; {
		began := time.Now()
		keys, next, err := c.Scan(ctx, cursor, match, page).Result()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return link.Explain(err)
		}
		if err := f(keys); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
		if err := link.Sleep(ctx, max(time.Since(began), time.Millisecond)); err != nil {
			return err
		}
	}
}

// liveNodes returns the ids of the live nodes of a namespace.
func liveNodes(ctx context.Context, s *cluster.Server, keys link.Keys) ([]string, error) {
	live, err := membership.Directory{Client: s, Keys: keys}.Live(ctx)
	ids := make([]string, 0, len(live))
	for _, node := range live {
		ids = append(ids, node.ID)
	}
	return ids, err
}

// keysOf returns the names of a namespace on the server.
func keysOf(s *cluster.Server, namespace string) link.Keys {
	cfg := s.Config
	cfg.Namespace = namespace
	return cfg.Keys()
}

// rights are what a Redis user needs for the commands, beside the keys.
const rights = "+@read +eval +evalsha +time +unlink"

// explain adds to a refusal what the user of Redis lacks.
func explain(err error, namespace string) error {
	if err == nil || link.CauseOf(err) != link.CauseRights || errors.Is(err, errRights) {
		return err
	}
	return fmt.Errorf("%w%w: give it \"~{%s}:* %s\"", errRights, err, namespace, rights)
}

var errRights = errors.New("the user of Redis lacks rights")
