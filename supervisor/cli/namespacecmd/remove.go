package namespacecmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

func removeCommand(e *cluster.Env) *urfave.Command {
	yes := false
	return &urfave.Command{
		Name: "remove", Usage: "remove all data of a namespace", ArgsUsage: "NAMESPACE",
		Description: "It refuses while nodes of the namespace live, and asks for the name again. Tasks, cache, locks and the cluster's\n" +
			"token are gone then, for good. It works in steps, so that Redis can serve others in between, and when it was\n" +
			"interrupted it can be repeated. Other namespaces, and keys of something else, are not touched.\n\n" +
			"   $0 namespace remove old-tests\n" +
			"   $0 namespace remove old-tests --yes",
		Flags: e.ClientFlags(&urfave.BoolFlag{
			Name: "yes", Aliases: []string{"y"}, Destination: &yes, Usage: "do not ask", HideDefault: true,
		}),
		ArgValidator: config.Arguments(1, 1, "NAMESPACE"),
		Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
			if err := link.CheckNamespace(args[0]); err != nil {
				return config.Usagef("NAMESPACE: %w", err)
			}
			return explain(remove(ctx, e, args[0], yes), args[0])
		}),
	}
}

// removal is the removal of a namespace.
type removal struct {
	*cluster.Server

	env  *cluster.Env
	name string
	keys link.Keys

	about   int // how many keys there were
	removed int64
	others  []string // keys under the namespace's hash tag that are of something else
}

// maxPasses bounds how often a removal walks the keys. What is there is gone after one walk, on
// the embedded Redis after a few: what comes after that was written meanwhile.
const maxPasses = 20

func remove(ctx context.Context, e *cluster.Env, name string, yes bool) error {
	s, err := e.ConnectServer(ctx, name)
	if err != nil {
		return err
	}
	defer s.Close()
	r := &removal{Server: s, env: e, name: name, keys: keysOf(s, name)}
	if err := r.refuseLive(ctx); err != nil {
		return err
	}
	if err := r.count(ctx); err != nil {
		return cluster.Interrupted(ctx, err, "%s", cluster.ErrNotConfirmed)
	}
	if r.about == 0 {
		return fmt.Errorf("no namespace %s has data in database %d of redis at %s: \"%s namespace list\" lists those that have",
			name, s.Config.Database(), s.Where, e.Program)
	}
	if !yes {
		question := fmt.Sprintf("remove the namespace %s with all its data, %s of database %d of redis at %s?",
			name, link.Count(r.about, "key"), s.Config.Database(), s.Where)
		if err := e.ConfirmName(ctx, question, name); err != nil {
			return err
		}
	}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("%w: %d of about %s were removed; it can be repeated", cluster.Cause(ctx, err), r.removed, link.Count(r.about, "key"))
	}
	return r.write()
}

// refuseLive returns an error if nodes of the namespace live.
func (r *removal) refuseLive(ctx context.Context) error {
	live, err := liveNodes(ctx, r.Server, r.keys)
	if err != nil || len(live) == 0 {
		return err
	}
	more := ""
	if len(live) > 5 {
		live, more = live[:5], ", …"
	}
	return fmt.Errorf("the namespace %s has live nodes (%s%s): stop them first; one that crashed counts until its lease has run out",
		r.name, strings.Join(live, ", "), more)
}

// walkOwn calls f with the keys of the namespace, and keeps in mind which others are under its hash tag.
func (r *removal) walkOwn(ctx context.Context, f func(own []string) error) error {
	r.others = nil
	return walk(ctx, r.Client, r.keys.Prefix()+"*", func(keys []string) error {
		own := slices.DeleteFunc(keys, func(key string) bool {
			namespace, _, ok := link.SplitKey(key)
			if !ok {
				r.others = append(r.others, key)
			}
			return !ok || namespace != r.name
		})
		return f(own)
	})
}

// count counts the keys of the namespace.
func (r *removal) count(ctx context.Context) error {
	meter := r.env.Meter()
	defer meter.End()
	return r.walkOwn(ctx, func(own []string) error {
		r.about += len(own)
		meter.Show(func() string { return "counted " + link.Count(r.about, "key") })
		return nil
	})
}

// run removes the keys in steps. Before each it looks whether a node has started meanwhile.
func (r *removal) run(ctx context.Context) error {
	meter := r.env.Meter()
	defer meter.End()
	for range maxPasses {
		before := r.removed
		err := r.walkOwn(ctx, func(own []string) error {
			if len(own) == 0 {
				return nil
			}
			if err := r.refuseLive(ctx); err != nil {
				return err
			}
			n, err := r.Unlink(ctx, own...).Result()
			r.removed += n
			meter.Show(func() string { return fmt.Sprintf("removed %d of about %s", r.removed, link.Count(r.about, "key")) })
			return link.Explain(err)
		})
		if err != nil || r.removed == before {
			return err
		}
	}
	return errors.New("some program goes on writing there: stop it")
}

// write writes the result.
func (r *removal) write() error {
	text := fmt.Sprintf("removed the namespace %s: %s", r.name, link.Count(r.removed, "key"))
	if n := len(r.others); n > 0 {
		text += fmt.Sprintf("; left %s of something else, such as %s", link.Count(n, "key"), r.others[0])
	}
	return r.env.WriteResult(map[string]any{"namespace": r.name, "removed": r.removed, "left": len(r.others)}, text)
}
