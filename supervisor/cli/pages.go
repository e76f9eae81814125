package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/guard"
)

// startAdmin serves the health pages, if an address is configured, until the function that it returns is called. A
// child serves those that its guardian hands over. The caller calls the function after the set has stopped, so that
// the pages show the drain.
func (r *runner) startAdmin(ctx context.Context, set admin.Set, cfg admin.Config, log zerolog.Logger) (*admin.Server, func(), error) {
	if cfg.Addr == "" {
		return nil, func() {}, nil
	}
	cfg.Set = set
	var server *admin.Server
	if r.child != nil {
		server = admin.On(r.child.Listener(), cfg)
	} else {
		var err error
		if server, err = admin.Listen(ctx, cfg); err != nil {
			return nil, nil, err
		}
		log.Info().Str("address", server.Addr().String()).Msg("serving the health pages")
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(serving); err != nil && !r.lost() {
			log.Error().Err(err).Msg("health pages")
		}
	}()
	return server, sync.OnceFunc(func() { cancel(); <-served }), nil
}

// lost reports whether this process is a child whose guardian has ended.
func (r *runner) lost() bool {
	if r.child == nil {
		return false
	}
	select {
	case <-r.child.Lost():
		return true
	default:
		return false
	}
}

// handOver has a ready child answer what is not on the guardian's own pages, and gathers the children's statuses.
func handOver(g *guard.Guardian, cfg admin.Config) admin.Config {
	cfg.Other = g.Handover()
	cfg.Processes = func(r *http.Request) any {
		pages := []processPage{}
		for _, a := range g.Gather(r) {
			p := processPage{Process: a.Slot}
			if a.Err == nil {
				a.Err = json.Unmarshal(a.Page, &p)
			}
			if a.Err != nil {
				p.Error = a.Err.Error()
			}
			pages = append(pages, p)
		}
		return pages
	}
	return cfg
}

// processPage is the page /status of a child process.
type processPage struct {
	Process int             `json:"process"`
	Error   string          `json:"error,omitempty"` // why there is no page
	Set     json.RawMessage `json:"set,omitempty"`
	Nodes   json.RawMessage `json:"nodes,omitempty"`
}
