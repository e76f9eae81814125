package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// cleanTime bounds the removal of what the demo left in Redis.
const cleanTime = 30 * time.Second

// clean removes every key of the demo's namespace.
func (d *demo) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTime)
	defer cancel()
	prefix := d.Set.Redis.Keys().Prefix()
	node := d.redis
	if cluster, ok := node.(*redis.ClusterClient); ok {
		// All keys share a hash tag, and SCAN sees one server only.
		master, err := cluster.MasterForKey(ctx, prefix)
		if err != nil {
			return fmt.Errorf("remove %s*: %w", prefix, err)
		}
		node = master
	}
	keys := node.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	var batch []string
	for more := true; more; {
		if more = keys.Next(ctx); more {
			batch = append(batch, keys.Val())
		}
		if len(batch) == 0 || more && len(batch) < 500 {
			continue
		}
		if err := node.Unlink(ctx, batch...).Err(); err != nil {
			return fmt.Errorf("remove %s*: %w", prefix, err)
		}
		batch = batch[:0]
	}
	if err := keys.Err(); err != nil {
		return fmt.Errorf("remove %s*: %w", prefix, err)
	}
	return nil
}
