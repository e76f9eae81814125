package setcmd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Node is one node in the JSON output of the command status.
type Node struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation"`
	PID         int    `json:"pid"`
	Host        string `json:"host"`
	Program     string `json:"program,omitempty"` // the program's name; empty for older programs
	State       string `json:"state"`
	Live        bool   `json:"live"`       // the node's lease has not expired
	LeaseAge    int64  `json:"leaseAgeMs"` // since the node renewed its lease
	Uptime      int64  `json:"uptimeMs"`
	TasksInHand int    `json:"tasksInHand"`
	// Crashes describes the crashes of the node's earlier incarnations in the same
	// process; nil if there were none or the process did not answer.
	Crashes *builtin.Crashes `json:"crashed,omitempty"`
}

// lost is the state of a node whose lease has expired. Other nodes take over its tasks.
const lost = "lost"

// status writes the nodes, their sets and the counts of tasks.
func status(ctx context.Context, e *cluster.Env, _ []string) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	members, err := c.Directory().List(ctx)
	if err != nil {
		return err
	}
	counts, err := c.Inspector.Counts(ctx)
	if err != nil {
		return err
	}
	sets := askSets(ctx, c)
	nodes := make([]Node, 0, len(members))
	for _, m := range members {
		nodes = append(nodes, statusOf(m, sets))
	}
	if e.JSON() {
		return e.WriteJSON(map[string]any{"namespace": e.Namespace, "redis": c.Where, "nodes": nodes, "sets": sets, "tasks": counts})
	}
	if err := writeStatus(e, c.Where, nodes, counts); err != nil {
		return err
	}
	return writeSets(e, sets)
}

// setsTime is how long status waits for the processes to answer. It omits the set of a
// process that does not answer or denies the call.
const setsTime = 2 * time.Second

// askSets asks each process of the cluster for the status of its set.
func askSets(ctx context.Context, c *cluster.Client) []builtin.SetStatus {
	ctx, cancel := context.WithTimeout(ctx, setsTime)
	defer cancel()
	all, err := processes(ctx, c)
	if err != nil || len(all) == 0 {
		return []builtin.SetStatus{}
	}
	if _, err := c.Dial(ctx); err != nil { // connect once, before the goroutines use the endpoint
		return []builtin.SetStatus{}
	}
	answers := make([]*builtin.SetStatus, len(all))
	var asked sync.WaitGroup
	for i, one := range all {
		asked.Go(func() {
			if s, err := askSet(ctx, c, one.nodes, "api.set.status", nil); err == nil {
				answers[i] = &s
			}
		})
	}
	asked.Wait()
	sets := []builtin.SetStatus{}
	for _, s := range answers {
		if s == nil {
			continue
		}
		i := slices.IndexFunc(sets, func(other builtin.SetStatus) bool { return siblings(other.Process, s.Process) })
		if i < 0 {
			sets = append(sets, *s)
			continue
		}
		join(&sets[i], *s)
	}
	for i, s := range sets {
		if whole, err := wholeOf(s); err == nil { // the guardian knows also those that no node answers for
			whole.Crashed, whole.Zombies, whole.Aliens, whole.Process = s.Crashed, s.Zombies, s.Aliens, s.Process
			sets[i] = whole
		}
	}
	return sets
}

// join adds the status of another process of the same guardian.
func join(to *builtin.SetStatus, s builtin.SetStatus) {
	if to.Guardian == nil {
		to.Guardian, to.GuardianOperation = s.Guardian, s.GuardianOperation
	}
	to.Crashed = append(to.Crashed, s.Crashed...)
	to.Zombies.Count += s.Zombies.Count
	to.Zombies.Limit += s.Zombies.Limit
	to.Zombies.Tasks = append(to.Zombies.Tasks, s.Zombies.Tasks...)
	to.Zombies.Choked = to.Zombies.Choked || s.Zombies.Choked
	for key, n := range s.Aliens {
		if to.Aliens == nil {
			to.Aliens = map[string]int{}
		}
		to.Aliens[key] += n
	}
}

func statusOf(m membership.Member, sets []builtin.SetStatus) Node {
	s := Node{
		ID: m.Incarnation.ID, Incarnation: m.Incarnation.String(), PID: m.Process.PID, Host: m.Process.Host, Program: m.Process.Program,
		State: string(m.State), Live: m.Live, LeaseAge: m.LeaseAge.Milliseconds(), Uptime: m.Uptime.Milliseconds(), TasksInHand: m.TasksInHand,
	}
	if !m.Live {
		s.State = lost
	}
	for i := range sets {
		if !same(sets[i].Process, m.Process) && !siblings(sets[i].Process, m.Process) {
			continue
		}
		for j := range sets[i].Crashed {
			if c := &sets[i].Crashed[j]; c.Node == s.ID {
				s.Crashes = &c.Crashes
			}
		}
	}
	return s
}

// writeSets writes a line for each abnormal condition of a set, such as quiet nodes,
// crashes or a running operation.
func writeSets(e *cluster.Env, sets []builtin.SetStatus) error {
	var lines []string
	for _, s := range sets {
		who := nameOf(s.Process) + ": "
		say := func(is bool, format string, args ...any) {
			if is {
				lines = append(lines, who+fmt.Sprintf(format, args...))
			}
		}
		say(s.Ready < s.Workers, "%d of %s ready", s.Ready, link.Count(s.Workers, "node"))
		say(s.Leaving > 0, "%s", link.Count(s.Leaving, "node is leaving", "nodes are leaving"))
		say(s.Quiet, "quiet, no tasks are claimed until \"%s resume\"", e.Program)
		say(!s.Redis, "Redis does not answer it")
		say(!s.Healthy, "UNHEALTHY: no tasks are claimed until handlers return that outlived their nodes")
		say(s.Zombies.Count > 0, "%s (limit %d): %s",
			link.Count(s.Zombies.Count, "handler outlived its node", "handlers outlived their nodes"),
			s.Zombies.Limit, strings.Join(s.Zombies.Tasks, ", "))
		if o := s.Operation; o != nil {
			of := link.Count(o.Total, "node")
			if s.Processes > 0 {
				of = link.Count(o.Total, "process", "processes")
			}
			say(!o.Ended, "%s under way, %d of %s done; %s", o.Kind, o.Done, of, o.Node)
			say(o.Error != "", "%s", o.Error)
		}
		for _, c := range s.Crashed {
			lines = append(lines, fmt.Sprintf("%s crashed %s, the last %s ago: %s",
				c.Node, link.Count(c.Count, "time"), time.Since(c.At).Truncate(time.Second), c.Reason))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return e.WriteLine(append([]string{""}, lines...)...)
}

func writeStatus(e *cluster.Env, where string, nodes []Node, counts tasks.Counts) error {
	if len(nodes) == 0 {
		if err := e.WriteLine(fmt.Sprintf("no live nodes in namespace %s at %s", e.Namespace, where)); err != nil {
			return err
		}
	} else if err := writeNodes(e, nodes); err != nil {
		return err
	}
	parked := ""
	if counts.Parked > 0 {
		parked = fmt.Sprintf(" (%d of them parked: no node handles their tasks)", counts.Parked)
	}
	return e.WriteLine("", fmt.Sprintf("tasks: %d pending%s, %d delayed, %d active, %d done, %d dead; %d taken over, %s",
		counts.Pending, parked, counts.Delayed, counts.Active, counts.Done, counts.Dead, counts.HandedOn,
		link.Count(counts.Failed, "run tried again", "runs tried again")))
}

// writeNodes writes the table of nodes. It names their programs if one is not this program.
func writeNodes(e *cluster.Env, nodes []Node) error {
	rows := [][]string{{"NODE", "PROCESS", "HOST", "STATE", "LEASE AGE", "UPTIME", "TASKS"}}
	others := slices.ContainsFunc(nodes, func(n Node) bool { return n.Program != "" && n.Program != e.Program })
	if others {
		rows[0] = append(rows[0], "PROGRAM")
	}
	rows[0] = append(rows[0], "INCARNATION") // it is long, and the last column gives way in a narrow terminal
	for _, n := range nodes {
		_, life, _ := strings.Cut(n.Incarnation, "#")
		seconds := func(ms int64) string { return (time.Duration(ms) * time.Millisecond).Truncate(time.Second).String() }
		row := []string{
			n.ID, strconv.Itoa(n.PID), n.Host, n.State, seconds(n.LeaseAge), seconds(n.Uptime), strconv.Itoa(n.TasksInHand),
		}
		if others {
			row = append(row, n.Program)
		}
		rows = append(rows, append(row, life))
	}
	return e.WriteTable(rows)
}
