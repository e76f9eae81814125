package tasks

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
)

// Inspector lists and changes the tasks, queues and periodic tasks of a namespace: it can,
// for example, cancel, delete and retry tasks, and pause queues. It has no goroutines and
// need not be closed. Make an inspector with [NewInspector].
type Inspector struct {
	redis redis.UniversalClient
	keys  link.Keys
	store queue.Store

	onChange func(context.Context, Change) // nil for none
}

// NewInspector returns an inspector of a namespace.
func NewInspector(c redis.UniversalClient, keys link.Keys) *Inspector {
	return &Inspector{redis: c, keys: keys, store: queue.NewStore(c, keys)}
}
