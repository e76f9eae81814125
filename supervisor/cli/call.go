package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/rpcregistry"
)

// callFlags are the flags of "call" alone.
type callFlags struct {
	node, connection string
	all, noWait      bool
	timeout          time.Duration
}

func (p *program) callCommand() *urfave.Command {
	f := &callFlags{}
	return &urfave.Command{
		Name: "call", Usage: "call an RPC method on one node or on all", ArgsUsage: "METHOD [ARGS-JSON]",
		Description: "Without a target the first live node that has the method runs it. Arguments are a JSON object (by name)\n" +
			"or list (by position); - reads them from standard input.\n\n" +
			"   stellar call api.methods\n" +
			"   stellar call api.ping --all\n" +
			"   stellar call api.log '[\"hello\", \"warn\"]' --node stellar-worker-2\n" +
			"   stellar call api.cache.save '{\"key\": \"a\", \"value\": 1}'",
		Flags: p.commandFlags(
			&urfave.StringFlag{Name: "node", Destination: &f.node, Usage: "`ID` of the node that runs it"},
			&urfave.StringFlag{Name: "connection", Destination: &f.connection, Usage: "`ID` of a client connection: its node runs it"},
			&urfave.BoolFlag{Name: "all", Destination: &f.all, Usage: "every node runs it; shows what became of it on each", HideDefault: true},
			&urfave.BoolFlag{Name: "no-wait", Destination: &f.noWait, Usage: "do not wait for an answer", HideDefault: true},
			&urfave.DurationFlag{
				Name: timeoutFlag, Value: rpcregistry.DefaultTimeout, Destination: &f.timeout, Usage: "how long to wait for an answer (`TIME`)",
			},
		),
		ArgValidator: arguments(1, 2, "METHOD [ARGS-JSON]"),
		Action:       p.action(func(ctx context.Context, args []string) error { return p.call(ctx, f, args) }),
	}
}

// check looks for flags that contradict each other.
func (f *callFlags) check() error {
	targets := 0
	for _, given := range []bool{f.node != "", f.connection != "", f.all} {
		if given {
			targets++
		}
	}
	if targets > 1 {
		return usagef("use one of --node, --connection and --all")
	}
	if f.timeout <= 0 {
		return usagef("--timeout: %s is not positive", f.timeout)
	}
	return nil
}

func (p *program) call(ctx context.Context, f *callFlags, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	var params any
	if len(args) == 2 {
		value, err := p.argument(args[1], "ARGS-JSON", `'{"key": "a"}' or '["text", "info"]'`)
		if err != nil {
			return err
		}
		params = value
	}
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	rpc, err := c.dial(ctx)
	if err != nil {
		return err
	}
	calling, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if f.all {
		return hint(p.callAll(calling, rpc, f.noWait, args[0], params))
	}
	return hint(p.callOne(calling, c, f, func(ctx context.Context, to rpcregistry.Target) error {
		if f.noWait {
			return rpc.Cast(ctx, args[0], params, to)
		}
		r, err := rpc.DoCluster(ctx, args[0], params, to)
		if err != nil {
			return err
		}
		return p.writeValue(r.Value)
	}))
}

func (p *program) callAll(ctx context.Context, rpc *rpcregistry.Endpoint, noWait bool, method string, params any) error {
	if noWait {
		return rpc.Cast(ctx, method, params, rpcregistry.All())
	}
	verdicts, err := rpc.DoAll(ctx, method, params)
	if err != nil {
		return err
	}
	return p.writeVerdicts(method, verdicts)
}

// callOne calls the node that was asked for, or the first one that has the method
// and takes the call.
func (p *program) callOne(ctx context.Context, c *client, f *callFlags, do func(context.Context, rpcregistry.Target) error) error {
	switch {
	case f.node != "":
		return do(ctx, rpcregistry.Node(f.node))
	case f.connection != "":
		return do(ctx, rpcregistry.Connection(f.connection))
	}
	ids, err := c.live(ctx)
	if err != nil {
		return err
	}
	err = &kindError{errNoSet, fmt.Errorf("no live node in namespace %s at %s", p.namespace, c.where)}
	var busy error
	for _, id := range ids {
		err = do(ctx, rpcregistry.Node(id))
		switch {
		case errors.Is(err, rpcregistry.ErrBusy):
			busy = err // it is leaving, or has no room: it did not run it, but has the method
		case !errors.Is(err, rpcregistry.ErrNoSuchMethod) && !errors.Is(err, rpcregistry.ErrNoSuchTarget):
			return err
		}
	}
	if busy != nil {
		return busy
	}
	return err
}

// hint adds what to do about an error.
func hint(err error) error {
	remote, ok := errors.AsType[*rpcregistry.Error](err)
	if !ok {
		return err
	}
	switch remote.Code {
	case rpcregistry.ErrNoSuchMethod:
		return &kindError{err, fmt.Errorf("unknown method %s: \"stellar call api.methods\" lists what there is", remote.Method)}
	case rpcregistry.ErrBadArguments:
		return fmt.Errorf("%w: \"stellar call api.methods\" tells what it takes", err)
	case rpcregistry.ErrNoSuchTarget:
		return fmt.Errorf("%w: \"stellar status\" lists the live nodes", err)
	case rpcregistry.ErrTimeout, rpcregistry.ErrNodeDown:
		return fmt.Errorf("%w: nobody knows whether it ran", err)
	default:
		return err
	}
}

// verdict is one node in the JSON of call --all.
type verdict struct {
	Node        string          `json:"node"`
	Incarnation string          `json:"incarnation"`
	Outcome     string          `json:"outcome"`
	Value       json.RawMessage `json:"value,omitempty"`
	Error       string          `json:"error,omitempty"`
}

// writeVerdicts shows what became of a call on each node. A node on which it
// failed makes the command fail.
func (p *program) writeVerdicts(method string, verdicts []rpcregistry.Verdict) error {
	all := make([]verdict, 0, len(verdicts))
	rows := [][]string{{"NODE", "OUTCOME", "VALUE"}}
	failed, missing := 0, 0
	for _, v := range verdicts {
		line := verdict{Node: v.Node.ID, Incarnation: v.Node.Incarnation, Outcome: v.Outcome(), Value: v.Value}
		text := string(v.Value)
		if v.Err != nil {
			failed++
			line.Error = v.Err.Error()
			text = line.Error
		}
		if errors.Is(v.Err, rpcregistry.ErrNoSuchMethod) {
			missing++
		}
		all = append(all, line)
		rows = append(rows, []string{line.Node, line.Outcome, text})
	}
	if missing > 0 && missing == len(all) {
		return &rpcregistry.Error{Code: rpcregistry.ErrNoSuchMethod, Method: method}
	}
	var err error
	if p.asJSON() {
		err = p.writeJSON(all)
	} else {
		err = p.writeTable(rows)
	}
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return &kindError{errNoSet, fmt.Errorf("no live node in namespace %s", p.namespace)}
	case failed > 0:
		return fmt.Errorf("%s failed on %d of %d nodes", method, failed, len(all))
	}
	return nil
}
