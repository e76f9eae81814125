package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

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
	queue := c.tasks(ctx)
	defer queue.Close() //nolint:contextcheck // it ends a context of its own
	counts, err := queue.Counts(ctx)
	if err != nil {
		return err
	}
	nodes := make([]nodeStatus, 0, len(members))
	for _, m := range members {
		nodes = append(nodes, statusOf(m))
	}
	if p.asJSON() {
		return p.writeJSON(map[string]any{"namespace": p.namespace, "redis": c.where, "nodes": nodes, "tasks": counts})
	}
	return p.writeStatus(c.where, nodes, counts)
}

func statusOf(m membership.Member) nodeStatus {
	s := nodeStatus{
		ID: m.Incarnation.ID, Incarnation: m.Incarnation.String(), PID: m.Process.PID, Host: m.Process.Host,
		State: m.State, Live: m.Live, Uptime: m.Uptime.Seconds(), TasksInHand: m.TasksInHand,
	}
	if !m.Live {
		s.State = lost
	}
	return s
}

func (p *program) writeStatus(where string, nodes []nodeStatus, counts tasks.Counts) error {
	if len(nodes) == 0 {
		if _, err := fmt.Fprintf(p.Stdout, "no live nodes in namespace %s at %s\n", p.namespace, printable(where)); err != nil {
			return err
		}
	} else if err := p.writeNodes(nodes); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.Stdout, "\ntasks: %d pending, %d delayed, %d active, %d done, %d dead; %d taken over, %d runs failed\n",
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
