package connections

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
)

var (
	//go:embed lua/add.lua
	addLua string
	//go:embed lua/remove.lua
	removeLua string
	//go:embed lua/forget.lua
	forgetLua string

	addScript    = link.NewScript(link.LuaPrelude, addLua)
	removeScript = link.NewScript(link.LuaPrelude, removeLua)
	forgetScript = link.NewScript(link.LuaPrelude, forgetLua)
)

// batch is how many connections one script call adds or removes.
const batch = 500

// Directory finds the node that holds a client connection. Commands, which are no nodes, use
// it too.
type Directory struct {
	client redis.UniversalClient
	keys   link.Keys
}

// NewDirectory returns the directory of a cluster.
func NewDirectory(client redis.UniversalClient, keys link.Keys) *Directory {
	return &Directory{client: client, keys: keys}
}

// Locate returns the id of the node that holds the connection. The error is
// rpcregistry.ErrNoSuchConnection, or one of link.Explain.
func (d *Directory) Locate(ctx context.Context, connection string) (node string, err error) {
	incarnation, err := d.client.HGet(ctx, d.keys.Connections(), connection).Result()
	if errors.Is(err, redis.Nil) {
		return "", rpcregistry.ErrNoSuchConnection
	}
	if err != nil {
		return "", fmt.Errorf("locate a connection: %w", link.Explain(err))
	}
	return link.NodeOf(incarnation), nil
}

// Holds implements rpcregistry.Connections: a directory alone holds no connection.
func (d *Directory) Holds(string) bool { return false }

// Forget removes the connections of a dead incarnation from the directory. It may be called
// again, and by several processes at once. Errors are those of link.Script.Call.
func Forget(ctx context.Context, client link.Processor, keys link.Keys, incarnation string) error {
	// Most clusters have no client connections, and this costs Redis much less than the script.
	some := redis.NewIntCmd(ctx, "exists", keys.Connections(), keys.ConnectionsOf(incarnation))
	if err := client.Process(ctx, some); err != nil {
		return fmt.Errorf("connections of %s: %w", incarnation, link.Explain(err))
	}
	for some.Val() > 0 {
		n := 0
		reply, err := forgetScript.Call(ctx, client,
			[]string{keys.Connections(), keys.ConnectionsOf(incarnation)}, incarnation, batch)
		if err == nil {
			err = reply.Scan(&n)
		}
		if err != nil {
			return fmt.Errorf("forget the connections of %s: %w", incarnation, err)
		}
		if n < batch {
			break
		}
	}
	return nil
}
