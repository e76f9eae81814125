package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

func (p *program) statusCommand() *urfave.Command {
	return &urfave.Command{
		Name: "status", Usage: "show the live nodes of the cluster and its tasks", ArgValidator: arguments(0, 0, "none"),
		Flags: p.commandFlags(), Action: p.action(p.status),
	}
}

// nodeStatus is one node in the JSON of status.
type nodeStatus struct {
	ID          string  `json:"id"`
	Incarnation string  `json:"incarnation"`
	PID         int     `json:"pid"`
	Host        string  `json:"host"`
	State       string  `json:"state"`
	Live        bool    `json:"live"`   // its lease has not run out
	Uptime      float64 `json:"uptime"` // seconds
	TasksInHand int     `json:"tasksInHand"`
	// Crashes of its former lives in its process, where that could be asked.
	Crashes *builtin.Crashes `json:"crashes,omitempty"`
}

// lost is the state of a node whose lease has run out: another process takes
// its tasks over.
const lost = "lost"

func (p *program) status(ctx context.Context, _ []string) error {
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	members, err := c.directory.List(ctx)
	if err != nil {
		return err
	}
	counts, err := c.inspector().Counts(ctx)
	if err != nil {
		return err
	}
	sets := c.sets(ctx)
	nodes := make([]nodeStatus, 0, len(members))
	for _, m := range members {
		nodes = append(nodes, statusOf(m, sets))
	}
	if p.asJSON() {
		return p.writeJSON(map[string]any{"namespace": p.namespace, "redis": c.where, "nodes": nodes, "sets": sets, "tasks": counts})
	}
	if err := p.writeStatus(c.where, nodes, counts); err != nil {
		return err
	}
	return p.writeSets(sets)
}

// setsTime is how long status waits for the processes to tell of their sets. A
// process that does not, or denies the call, is shown without.
const setsTime = 2 * time.Second

// sets asks each process of the cluster for the status of its set.
func (c *client) sets(ctx context.Context) []builtin.SetStatus {
	ctx, cancel := context.WithTimeout(ctx, setsTime)
	defer cancel()
	all, err := c.processes(ctx)
	if err != nil || len(all) == 0 {
		return []builtin.SetStatus{}
	}
	if _, err := c.dial(ctx); err != nil {
		return []builtin.SetStatus{}
	}
	answers := make([]*builtin.SetStatus, len(all))
	var asked sync.WaitGroup
	for i, one := range all {
		asked.Go(func() {
			if s, err := c.askSet(ctx, one.nodes, "api.set.status", nil); err == nil {
				answers[i] = &s
			}
		})
	}
	asked.Wait()
	sets := []builtin.SetStatus{}
	for _, s := range answers {
		if s != nil {
			sets = append(sets, *s)
		}
	}
	return sets
}

func statusOf(m membership.Member, sets []builtin.SetStatus) nodeStatus {
	s := nodeStatus{
		ID: m.Incarnation.ID, Incarnation: m.Incarnation.String(), PID: m.Process.PID, Host: m.Process.Host,
		State: string(m.State), Live: m.Live, Uptime: m.Uptime.Seconds(), TasksInHand: m.TasksInHand,
	}
	if !m.Live {
		s.State = lost
	}
	for i := range sets {
		if sets[i].Process != m.Process {
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

// writeSets tells what is out of the ordinary with the sets of the processes.
func (p *program) writeSets(sets []builtin.SetStatus) error {
	var lines []string
	for _, s := range sets {
		who := fmt.Sprintf("process %d on %s: ", s.Process.PID, s.Process.Host)
		say := func(is bool, format string, args ...any) {
			if is {
				lines = append(lines, who+fmt.Sprintf(format, args...))
			}
		}
		say(s.Ready < s.Workers, "%d of %d nodes are ready", s.Ready, s.Workers)
		say(s.Leaving > 0, "%d nodes are leaving", s.Leaving)
		say(s.Quiet, "quiet, no tasks are claimed until \"stellar resume\"")
		say(!s.Redis, "Redis does not answer it")
		say(!s.Healthy, "UNHEALTHY: no tasks are claimed until handlers return that outlived their nodes")
		say(s.Zombies.Count > 0, "%d handlers outlived their nodes (limit %d): %s",
			s.Zombies.Count, s.Zombies.Limit, strings.Join(s.Zombies.Tasks, ", "))
		if o := s.Operation; o != nil {
			say(!o.Ended, "%s under way, %d of %d nodes done; %s", o.Kind, o.Done, o.Total, o.Node)
			say(o.Error != "", "%s", o.Error)
		}
		for _, c := range s.Crashed {
			lines = append(lines, fmt.Sprintf("%s crashed %d times, the last %s ago: %s",
				c.Node, c.Count, time.Since(c.At).Truncate(time.Second), c.Reason))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(p.Stdout, "\n%s\n", printable(strings.Join(lines, "\n")))
	return err
}

func (p *program) writeStatus(where string, nodes []nodeStatus, counts tasks.Counts) error {
	if len(nodes) == 0 {
		if _, err := fmt.Fprintf(p.Stdout, "no live nodes in namespace %s at %s\n", p.namespace, printable(where)); err != nil {
			return err
		}
	} else if err := p.writeNodes(nodes); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.Stdout, "\ntasks: %d pending, %d delayed, %d active, %d done, %d dead; %d taken over, %d runs tried again\n",
		counts.Pending, counts.Delayed, counts.Active, counts.Done, counts.Dead, counts.HandedOn, counts.Failed)
	return err
}

func (p *program) writeNodes(nodes []nodeStatus) error {
	rows := [][]string{{"NODE", "INCARNATION", "PROCESS", "HOST", "STATE", "UPTIME", "TASKS"}}
	for _, n := range nodes {
		_, life, _ := strings.Cut(n.Incarnation, "#")
		uptime := time.Duration(n.Uptime * float64(time.Second)).Truncate(time.Second)
		rows = append(rows, []string{
			n.ID, life, strconv.Itoa(n.PID), n.Host, n.State, uptime.String(), strconv.Itoa(n.TasksInHand),
		})
	}
	return p.writeTable(rows)
}
