package queue

import (
	"context"
	"encoding/json"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Defaults are what the tasks of a queue get that their own options do not set, in place of
// what their definitions say; 0 means that the definition counts. Times are milliseconds.
type Defaults struct {
	MaxAttempts int   `json:"maxAttempts,omitempty"`
	Timeout     int64 `json:"timeoutMs,omitempty"`
	Retention   int64 `json:"retentionMs,omitempty"`
}

// ParseDefaults parses defaults as Redis holds them; what cannot be read is zero.
func ParseDefaults(text string) Defaults {
	var d Defaults
	if json.Unmarshal([]byte(text), &d) != nil || min(int64(d.MaxAttempts), d.Timeout, d.Retention) < 0 {
		return Defaults{}
	}
	return d
}

// SetDefaults sets the defaults of a queue, and has all nodes read them; the zero value removes them.
func (s Store) SetDefaults(ctx context.Context, queue string, d Defaults) error {
	text, _ := json.Marshal(d) // numbers: it cannot fail
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if d == (Defaults{}) {
			p.HDel(ctx, s.keys.QueueDefaults(), queue)
		} else {
			p.HSet(ctx, s.keys.QueueDefaults(), queue, text)
			p.SAdd(ctx, s.keys.Queues(), queue)
		}
		p.Publish(ctx, s.keys.Set(), "")
		return nil
	})
	return link.Explain(err)
}

// DefaultsOf returns the defaults of a queue.
func (s Store) DefaultsOf(ctx context.Context, queue string) (Defaults, error) {
	all, err := s.redis.HMGet(ctx, s.keys.QueueDefaults(), queue).Result()
	if err != nil {
		return Defaults{}, link.Explain(err)
	}
	text, _ := all[0].(string)
	return ParseDefaults(text), nil
}

// AllDefaults returns the defaults of all queues that have some.
func (s Store) AllDefaults(ctx context.Context) (map[string]Defaults, error) {
	texts, err := s.redis.HGetAll(ctx, s.keys.QueueDefaults()).Result()
	if err != nil {
		return nil, link.Explain(err)
	}
	all := make(map[string]Defaults, len(texts))
	for queue, text := range texts {
		all[queue] = ParseDefaults(text)
	}
	return all, nil
}
