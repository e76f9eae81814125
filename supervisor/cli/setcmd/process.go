package setcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

// processNodes is a process with the ids of its live nodes.
type processNodes struct {
	membership.Process
	nodes []string
}

// processes returns the processes of the cluster that have live nodes, in the order in
// which the directory lists these nodes.
func processes(ctx context.Context, c *cluster.Client) ([]*processNodes, error) {
	members, err := c.Directory().List(ctx)
	if err != nil {
		return nil, err
	}
	var all []*processNodes
	of := map[membership.Process]*processNodes{}
	for _, m := range members {
		if !m.Live {
			continue
		}
		if of[m.Process] == nil {
			of[m.Process] = &processNodes{Process: m.Process}
			all = append(all, of[m.Process])
		}
		of[m.Process].nodes = append(of[m.Process].nodes, m.Incarnation.ID)
	}
	return all, nil
}

// gather joins the processes of each guardian to one.
func gather(all []*processNodes) (fewer []*processNodes) {
	for _, one := range all {
		i := slices.IndexFunc(fewer, func(f *processNodes) bool { return siblings(f.Process, one.Process) })
		if i < 0 {
			fewer = append(fewer, one)
			continue
		}
		fewer[i].nodes = append(fewer[i].nodes, one.nodes...)
	}
	return fewer
}

// nameOf names the set of a process for people: by the guardian, if it has one.
func nameOf(p membership.Process) string {
	if p.Guardian != 0 {
		return fmt.Sprintf("guardian %d on %s", p.Guardian, p.Host)
	}
	return fmt.Sprintf("process %d on %s", p.PID, p.Host)
}

// siblings reports whether the processes are of the same guardian.
func siblings(a, b membership.Process) bool {
	return a.Guardian != 0 && a.Guardian == b.Guardian && a.Host == b.Host
}

// same reports whether both are one process. Records of its nodes say more of it than its set.
func same(a, b membership.Process) bool {
	return a.Host == b.Host && a.PID == b.PID && a.Launch == b.Launch
}

// findProcess returns the process of the given node. If node is empty, it returns the
// cluster's only process, or an error if there are several. The processes of a guardian are one.
func findProcess(ctx context.Context, e *cluster.Env, c *cluster.Client, node string) (membership.Process, error) {
	all, err := processes(ctx, c)
	if err != nil {
		return membership.Process{}, err
	}
	all = gather(all)
	var lines []string
	for _, one := range all {
		if slices.Contains(one.nodes, node) {
			return one.Process, nil
		}
		lines = append(lines, fmt.Sprintf("--node %s   %s, %s", one.nodes[0], nameOf(one.Process), link.Count(len(one.nodes), "node")))
	}
	switch {
	case node != "":
		return membership.Process{}, config.As(rpcregistry.ErrNoSuchTarget,
			fmt.Errorf("no live node %s: \"%s status\" lists them", node, e.Program))
	case len(all) == 1:
		return all[0].Process, nil
	case len(all) == 0:
		return membership.Process{}, config.As(cluster.ErrNoSet, fmt.Errorf(
			"no live node in namespace %s at %s: a set that was scaled to 0 gets a node by the signal TTIN", e.Namespace, c.Where))
	default:
		return membership.Process{}, config.Usagef("this cluster has several processes: choose one by any of its nodes: %s",
			strings.Join(lines, "; "))
	}
}

// errNoNode reports that the process has no live node that could be called.
var errNoNode = errors.New("the process has no live node")

// answerTime is the time limit for the answer of one node.
const answerTime = 5 * time.Second

// askSet calls a method of a set on the first of the nodes that accepts the call.
func askSet(ctx context.Context, c *cluster.Client, nodes []string, method string, args any) (s builtin.SetStatus, err error) {
	if len(nodes) == 0 {
		return s, errNoNode
	}
	rpc, err := c.Dial(ctx)
	if err != nil {
		return s, err
	}
	for _, id := range nodes {
		asking, cancel := context.WithTimeout(ctx, answerTime)
		s, err = rpcregistry.Do[builtin.SetStatus](asking, rpc, method, args, rpcregistry.Node(id))
		cancel()
		// A node that has left or is leaving did not run the call: another node can.
		if !errors.Is(err, rpcregistry.ErrNoSuchTarget) && !errors.Is(err, rpcregistry.ErrBusy) {
			break
		}
	}
	return s, err
}
