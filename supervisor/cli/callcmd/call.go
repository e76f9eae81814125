// Package callcmd has the command call, which calls an RPC method on nodes.
package callcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// flags holds the flags that only the command call has.
type flags struct {
	node, connection string
	all, noWait      bool
	timeout          time.Duration
}

// Commands returns the command call.
func Commands(e *cluster.Env) []*urfave.Command {
	f := &flags{}
	return []*urfave.Command{{
		Name: "call", Usage: "call an RPC method on one node or on all", ArgsUsage: "METHOD [ARGS-JSON]",
		Description: "Without a target the first live node that has the method runs it. Arguments are a JSON object (by name)\n" +
			"or list (by position); - reads them from standard input.\n\n" +
			"   $0 call api.methods\n" +
			"   $0 call api.ping --all\n" +
			"   $0 call api.log '[\"hello\", \"warn\"]' --node stellar-worker-2\n" +
			"   $0 call api.cache.save '{\"key\": \"a\", \"value\": 1}'",
		Flags: e.ClientFlags(
			&urfave.StringFlag{Name: "node", Destination: &f.node, Usage: "`NODE` that runs it"},
			&urfave.StringFlag{Name: "connection", Destination: &f.connection, Usage: "`CONNECTION` of a client: its node runs it"},
			&urfave.BoolFlag{Name: "all", Destination: &f.all, Usage: "every node runs it; shows what became of it on each", HideDefault: true},
			&urfave.BoolFlag{Name: "no-wait", Destination: &f.noWait, Usage: "do not wait for an answer", HideDefault: true},
			&urfave.DurationFlag{
				Name: "timeout", Value: rpcregistry.DefaultTimeout, Destination: &f.timeout, Usage: "how long to wait for an answer (`TIME`)",
			},
		),
		ArgValidator: checkArguments,
		Action:       e.Action(f.call),
	}}
}

// checkArguments returns an error about arguments of the method that are words of their own, which
// shows the list that they make.
func checkArguments(ctx context.Context, cmd *urfave.Command) error {
	if cmd.Args().Len() <= 2 {
		return config.Arguments(1, 2, cmd.ArgsUsage)(ctx, cmd)
	}
	var list []any
	for _, word := range cmd.Args().Slice()[1:] {
		if list = append(list, word); json.Valid([]byte(word)) {
			list[len(list)-1] = json.RawMessage(word)
		}
	}
	text, err := wire.Encode(list)
	if err != nil {
		return err
	}
	return config.Usagef("the arguments of %s are one list: write '%s'", cmd.Args().First(), strings.ReplaceAll(string(text), "'", `'\''`))
}

// check returns an error if flags contradict each other or the timeout is not positive.
func (f *flags) check() error {
	targets := 0
	for _, given := range []bool{f.node != "", f.connection != "", f.all} {
		if given {
			targets++
		}
	}
	if targets > 1 {
		return config.Usagef("use one of --node, --connection and --all")
	}
	if f.timeout <= 0 {
		return config.Usagef("--timeout: %s is not positive", f.timeout)
	}
	return nil
}

func (f *flags) call(ctx context.Context, e *cluster.Env, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	var params any
	if len(args) == 2 {
		value, err := e.Argument(ctx, args[1], "ARGS-JSON", `'{"key": "a"}' or '["text", "info"]'`)
		if err != nil {
			return err
		}
		params = value
	}
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	rpc, err := c.Dial(ctx)
	if err != nil {
		return err
	}
	calling, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if f.all {
		err = callAll(calling, e, rpc, f.noWait, args[0], params)
		return cluster.Interrupted(ctx, explain(calling, e, c, err), unknownOutcome)
	}
	err = f.callOne(calling, e, c, func(ctx context.Context, to rpcregistry.Target) error {
		if f.noWait {
			return cast(ctx, e, rpc, args[0], params, to)
		}
		r, err := rpc.DoCluster(ctx, args[0], params, to)
		if err != nil {
			return err
		}
		return e.WriteValue(r.Value)
	})
	return cluster.Interrupted(ctx, explain(calling, e, c, err), unknownOutcome)
}

const unknownOutcome = "nobody knows whether it ran"

// explain adds advice to the error of a call. A method that is not there may be misspelt.
func explain(ctx context.Context, e *cluster.Env, c *cluster.Client, err error) error {
	if remote, ok := errors.AsType[*rpcregistry.Error](err); ok && remote.Code == rpcregistry.ErrNoSuchMethod && remote.Message == "" {
		methods, failed := c.Methods(ctx)
		names := make([]string, len(methods))
		for i, m := range methods {
			names[i] = m.Name
		}
		if like := link.Nearest(remote.Method, names); failed == nil && like != "" {
			advised := *remote
			advised.Message = "did you mean " + like + "?"
			err = &advised
		}
	}
	return cluster.ExplainCall(e, err)
}

// cast sends a call whose answer nobody waits for, and says so.
func cast(ctx context.Context, e *cluster.Env, rpc *rpcregistry.Endpoint, method string, params any, to rpcregistry.Target) error {
	if err := rpc.Cast(ctx, method, params, to); err != nil {
		return err
	}
	return e.WriteResult(map[string]string{"method": method, "sentTo": to.String()}, fmt.Sprintf("sent %s to %s", method, to))
}

func callAll(ctx context.Context, e *cluster.Env, rpc *rpcregistry.Endpoint, noWait bool, method string, params any) error {
	if noWait {
		return cast(ctx, e, rpc, method, params, rpcregistry.All())
	}
	verdicts, err := rpc.DoAll(ctx, method, params)
	if err != nil {
		return err
	}
	return writeVerdicts(e, method, verdicts)
}

// callOne calls do with the target that a flag names, or else with one live node after
// the other until a node has the method and accepts the call.
func (f *flags) callOne(ctx context.Context, e *cluster.Env, c *cluster.Client, do func(context.Context, rpcregistry.Target) error) error {
	switch {
	case f.node != "":
		return do(ctx, rpcregistry.Node(f.node))
	case f.connection != "":
		return do(ctx, rpcregistry.Connection(f.connection))
	}
	ids, err := c.Live(ctx)
	if err != nil {
		return err
	}
	err = config.As(cluster.ErrNoSet, fmt.Errorf("no live node in namespace %s at %s", e.Namespace, c.Where))
	var busy error
	for _, id := range ids {
		err = do(ctx, rpcregistry.Node(id))
		switch {
		case errors.Is(err, rpcregistry.ErrBusy):
			busy = err // the node is leaving or full: it did not run the call, but has the method
		case !errors.Is(err, rpcregistry.ErrNoSuchMethod) && !errors.Is(err, rpcregistry.ErrNoSuchTarget):
			return err
		}
	}
	if busy != nil {
		return busy
	}
	return err
}

// Verdict is the outcome of a call on one node, in the JSON output of call --all.
type Verdict struct {
	Node        string          `json:"node"`
	Incarnation string          `json:"incarnation"`
	Outcome     string          `json:"outcome"`
	Value       json.RawMessage `json:"value,omitempty"`
	Error       string          `json:"error,omitempty"`
}

// writeVerdicts writes the outcome of a call on each node. It returns an error if the
// call failed on any node, or there was no node.
func writeVerdicts(e *cluster.Env, method string, verdicts []rpcregistry.Verdict) error {
	all := make([]Verdict, 0, len(verdicts))
	rows := [][]string{{"NODE", "OUTCOME", "VALUE"}}
	failed, missing := 0, 0
	unknown := &rpcregistry.Error{Code: rpcregistry.ErrNoSuchMethod, Method: method}
	for _, v := range verdicts {
		line := Verdict{Node: v.Node.ID, Incarnation: v.Node.Incarnation, Outcome: v.Outcome(), Value: v.Value}
		text := string(v.Value)
		if v.Err != nil {
			failed++
			line.Error = v.Err.Error()
			text = line.Error
		}
		if remote, ok := errors.AsType[*rpcregistry.Error](v.Err); ok && remote.Code == rpcregistry.ErrNoSuchMethod {
			missing++
			unknown.Message = remote.Message
		}
		all = append(all, line)
		rows = append(rows, []string{line.Node, line.Outcome, text})
	}
	if missing > 0 && missing == len(all) {
		return unknown
	}
	var err error
	if e.JSON() {
		err = e.WriteJSON(all)
	} else {
		err = e.WriteTable(rows)
	}
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return config.As(cluster.ErrNoSet, fmt.Errorf("no live node in namespace %s", e.Namespace))
	case failed > 0:
		return fmt.Errorf("%s failed on %d of %s", method, failed, link.Count(len(all), "node"))
	}
	return nil
}
