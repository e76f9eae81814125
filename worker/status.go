package worker

import (
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/builtin"
)

// Slots returns how many tasks the node has in hand, and how many it runs at a time.
func (n *Node) Slots() (used, all int) {
	if n.API() != nil {
		used = n.runner.InHand()
	}
	return used, n.cfg.Concurrency
}

// Pool returns the sockets of the node's connections to Redis.
func (n *Node) Pool() link.Pool {
	if n.API() == nil {
		return link.Pool{}
	}
	return n.conns.Pool()
}

// Status returns the node's status, as api.status does.
func (n *Node) Status() builtin.Status {
	n.mu.Lock()
	s := builtin.Status{ID: n.ended.ID, Incarnation: n.ended.Incarnation, State: n.state}
	n.mu.Unlock()
	if set := n.host.cfg.Set; set != nil {
		if c := set.Crashes(s.ID); c.Count > 0 {
			s.Crashes = &c
		}
	}
	s.Host, s.PID, s.Uptime = n.host.process.Host, n.host.process.PID, time.Since(n.began).Milliseconds()
	if a := n.API(); a != nil {
		s.Tasks.InHand, s.Tasks.Overdue = n.runner.InHand(), n.runner.Overdue()
		s.Tasks.Started, s.Tasks.Done = n.runner.Counts()
		s.Bus = a.Bus.Stats()
	}
	return s
}
