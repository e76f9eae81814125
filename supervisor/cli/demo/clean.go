package demo

import (
	"context"
	"fmt"
	"time"
)

// cleanTime is the time limit for the removal of the demo's keys from Redis.
const cleanTime = 30 * time.Second

// clean removes every key of the demo's namespace.
func (d *demo) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTime)
	defer cancel()
	prefix := d.cfg.Set.Redis.Keys().Prefix()
	keys := d.redis.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	var batch []string
	for more := true; more; {
		if more = keys.Next(ctx); more {
			batch = append(batch, keys.Val())
		}
		if len(batch) == 0 || more && len(batch) < 500 {
			continue
		}
		if err := d.redis.Unlink(ctx, batch...).Err(); err != nil {
			return fmt.Errorf("remove %s*: %w", prefix, err)
		}
		batch = batch[:0]
	}
	if err := keys.Err(); err != nil {
		return fmt.Errorf("remove %s*: %w", prefix, err)
	}
	return nil
}
