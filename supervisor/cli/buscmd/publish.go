// Package buscmd has the commands publish and subscribe, which send and show the messages
// of a cluster.
package buscmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// Commands returns the commands of this package.
func Commands(e *cluster.Env) []*urfave.Command {
	return []*urfave.Command{publishCommand(e), subscribeCommand(e)}
}

// publishing holds the flags that only the command publish has.
type publishing struct {
	node string
	meta config.MetaFlag
}

func publishCommand(e *cluster.Env) *urfave.Command {
	p := &publishing{}
	return &urfave.Command{
		Name: "publish", Usage: "send a message to all nodes", ArgsUsage: "TYPE [PAYLOAD-JSON]",
		Description: "The payload is any JSON value, - reads it from standard input. A message that nobody hears is\n" +
			"lost: what must not be lost is a task.\n\n" +
			"   $0 publish priceChanged '{\"item\": 7, \"eur\": 3}'\n" +
			"   $0 publish priceChanged '{\"item\": 7}' --node stellar-worker-2",
		Flags: e.ClientFlags(
			&urfave.StringFlag{Name: "node", Destination: &p.node, Usage: "`ID` of the only node that gets it"},
			&urfave.GenericFlag{
				Name: "meta", Value: &p.meta, Usage: "what travels beside the payload, as `KEY=VALUE`; may be repeated", HideDefault: true,
			},
		),
		ArgValidator: config.Arguments(1, 2, "TYPE [PAYLOAD-JSON]"),
		Action:       e.Action(p.run),
	}
}

func (p *publishing) run(ctx context.Context, e *cluster.Env, args []string) error {
	kind, options := args[0], redisbus.PublishOptions{Node: p.node}
	if err := link.CheckName("TYPE", kind); err != nil {
		return config.As(config.ErrUsage, err)
	}
	var err error
	if options.Meta, err = p.meta.Meta(); err != nil {
		return err
	}
	var body any
	if len(args) == 2 {
		if body, err = e.Argument(ctx, args[1], "PAYLOAD-JSON", `'{"item": 7}' or '"text"'`); err != nil {
			return err
		}
	}
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Dial(ctx); err != nil {
		return err
	}
	if _, err := c.Bus.Prepare(ctx, kind, body, options); err != nil {
		return config.As(config.ErrUsage, err)
	}
	receivers, err := c.Bus.PublishWith(ctx, kind, body, options)
	if err != nil {
		return err
	}
	if err := p.heard(ctx, e, c, receivers); err != nil {
		return err
	}
	return e.WriteResult(published{kind, receivers}, fmt.Sprintf("published %s to %s", kind, link.Count(receivers, "subscriber")))
}

// published is the result of the command publish in its JSON output.
type published struct {
	MessageType string `json:"messageType"`
	Receivers   int64  `json:"receivers"` // subscribers of the channel, such as nodes
}

// pingTime is how long the nodes have to show that they understand this program.
const pingTime = 2 * time.Second

// heard returns an error if a message got to nobody, or to nodes that dropped it: a node drops
// messages of another token without an answer, and calls as well.
func (p *publishing) heard(ctx context.Context, e *cluster.Env, c *cluster.Client, receivers int64) error {
	switch {
	case receivers > 0:
	case p.node != "":
		return fmt.Errorf("nobody listens as %s: the message is lost; \"%s status\" lists the live nodes", p.node, e.Program)
	default:
		return config.As(cluster.ErrNoSet, fmt.Errorf("nobody listens in namespace %s at %s: the message is lost", e.Namespace, c.Where))
	}
	ids, err := c.Live(ctx)
	if err != nil || len(ids) == 0 { // those who listen are other commands, or other implementations
		return err
	}
	target := rpcregistry.All()
	if p.node != "" {
		target = rpcregistry.Node(p.node)
	}
	pinging, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	_, err = c.RPC.DoCluster(pinging, "api.ping", nil, target)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, rpcregistry.ErrTimeout):
		return fmt.Errorf("published to %s, but no node answers this program: nodes with another token (STELLAR_TOKEN, STELLAR_TOKEN_FILE) "+
			"drop the message, and say so in their logs", link.Count(receivers, "subscriber"))
	case errors.Is(err, rpcregistry.ErrUnavailable):
		return fmt.Errorf("published to %s, who drop the message: %w", link.Count(receivers, "subscriber"), err)
	default: // any other answer shows that they understand
		return nil
	}
}
