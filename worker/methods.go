package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
)

// Status is what api.status answers.
type Status struct {
	ID          string  `json:"id"`
	Incarnation string  `json:"incarnation"`
	State       State   `json:"state"`
	Host        string  `json:"host"`
	PID         int     `json:"pid"`
	Uptime      float64 `json:"uptime"` // seconds since it began
	Tasks       struct {
		InHand  int   `json:"inHand"`  // handlers running
		Started int64 `json:"started"` // handler starts in this life
		Done    int64 `json:"done"`    // tasks done in this life
	} `json:"tasks"`
	Bus     redisbus.BusStats `json:"bus"`
	Crashes *Crashes          `json:"crashes,omitempty"` // of its former lives in this process
}

// Status returns what there is to know of the node.
func (n *Node) Status() Status {
	n.mu.Lock()
	s := Status{ID: n.ended.ID, Incarnation: n.ended.Incarnation, State: n.state}
	n.mu.Unlock()
	if set := n.host.cfg.Set; set != nil {
		if c := set.Crashes(s.ID); c.Count > 0 {
			s.Crashes = &c
		}
	}
	s.Host, s.PID, s.Uptime = n.host.process.Host, n.host.process.PID, time.Since(n.began).Seconds()
	if a := n.API(); a != nil {
		s.Tasks.InHand = n.runner.InHand()
		s.Tasks.Started, s.Tasks.Done = n.runner.Counts()
		s.Bus = a.Bus.Stats()
	}
	return s
}

// none is of methods without arguments, or without an answer.
type none struct{}

// register adds the built-in methods that are about this node. All are strict, so
// that none does more than was meant because a name is misspelt.
func (n *Node) register(r *rpcregistry.Registry, a *API) {
	rpcregistry.HandleStrict(r, "api.status", func(context.Context, none) (Status, error) { return n.Status(), nil })
	rpcregistry.HandleStrict(r, "api.stop", func(context.Context, none) (none, error) { n.Stop(ErrStop); return none{}, nil })
	rpcregistry.HandleStrict(r, "api.restart", func(context.Context, none) (none, error) { n.Stop(ErrRestart); return none{}, nil })
	registerTasks(r, a, n.host.cfg.App)
	if n.host.cfg.Set != nil {
		registerSet(r, n.host.cfg.Set)
	}
	a.Connections.Register(r)
}

// coded is an error and the code that errors of its kind cross the wire with.
type coded struct {
	err  error
	code rpcregistry.Code
}

// withCodes makes the errors of a method cross the wire with the code of the first
// of these errors that they are.
func withCodes[Req, Res any](codes []coded, f func(context.Context, Req) (Res, error)) func(context.Context, Req) (Res, error) {
	return func(ctx context.Context, in Req) (Res, error) {
		res, err := f(ctx, in)
		for _, known := range codes {
			if errors.Is(err, known.err) {
				return res, fmt.Errorf("%w: %w", known.code, err)
			}
		}
		return res, err
	}
}

// milliseconds is the duration of an argument. One that time.Duration cannot
// hold would turn into another.
func milliseconds(n int64) (time.Duration, error) {
	if n < 0 || n > cache.MaxTTL.Milliseconds() {
		return 0, fmt.Errorf("%w: a duration of %d ms: use 0 to %d", rpcregistry.ErrBadArguments, n, cache.MaxTTL.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, nil
}
