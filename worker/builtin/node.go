package builtin

import (
	"context"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/membership"
)

// Status is the response of api.status.
type Status struct {
	ID          string           `json:"id"`
	Incarnation string           `json:"incarnation"`
	State       membership.State `json:"state"`
	Host        string           `json:"host"`
	PID         int              `json:"pid"`
	Uptime      int64            `json:"uptimeMs"` // since this life began, in milliseconds
	Tasks       struct {
		InHand  int   `json:"inHand"`  // handlers running
		Overdue int   `json:"overdue"` // of these, handlers that go on although their contexts have ended
		Started int64 `json:"started"` // handler starts in this life
		Done    int64 `json:"done"`    // tasks done in this life
	} `json:"tasks"`
	Bus     redisbus.BusStats `json:"bus"`
	Crashes *Crashes          `json:"crashed,omitempty"` // of earlier lives of the node in this process
}

// registerNode adds the methods about the node itself.
func registerNode(r rpcregistry.Registrar, d Deps) {
	handle(r, "api.status", func(context.Context, none) (Status, error) { return d.Status(), nil })
	handle(r, "api.stop", func(context.Context, none) (none, error) { d.Stop(); return none{}, nil })
	handle(r, "api.restart", func(context.Context, none) (none, error) { d.Restart(); return none{}, nil })
}
