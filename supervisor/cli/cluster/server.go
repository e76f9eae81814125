package cluster

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Server is a command's connection to a Redis, whatever is kept there.
type Server struct {
	*redis.Client

	Config link.Config
	Where  string // the address of Redis, or the path of the socket
}

// ConnectServer connects as [Env.Connect] does, to the server with the data of the namespace, and
// does not look at what is kept there.
func (e *Env) ConnectServer(ctx context.Context, namespace string) (*Server, error) {
	cfg, where, err := e.place(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Namespace = namespace
	c, err := link.OpenClient(cfg, clientName)
	if err != nil {
		return nil, err
	}
	ping := func(ctx context.Context) error { return link.Explain(c.Ping(ctx).Err()) }
	if err := e.reach(ctx, where, ping); err != nil {
		_ = c.Close()
		return nil, err
	}
	return &Server{Client: c, Config: cfg, Where: where}, nil
}
