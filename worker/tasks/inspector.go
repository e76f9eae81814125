package tasks

import (
	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Inspector looks at the tasks, queues and periodic tasks of a namespace and mends
// what went wrong with them. It holds nothing but the way to Redis and needs no
// end. Make one with [NewInspector].
type Inspector struct {
	redis redis.UniversalClient
	keys  link.Keys
	store queue.Store
}

// NewInspector returns an inspector of a namespace.
func NewInspector(c redis.UniversalClient, keys link.Keys) *Inspector {
	return &Inspector{redis: c, keys: keys, store: queue.NewStore(c, keys)}
}
