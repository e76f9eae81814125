// Package admin serves the health of a node set over HTTP:
//
//	/healthz  200 while the process serves; 503 when so many handlers outlived
//	          their nodes that no tasks are claimed: then only a new process helps
//	/readyz   200 when all nodes run, 503 otherwise, also when Redis has not
//	          answered for three seconds; how many do, in JSON. A set that is quiet
//	          is ready: it answers calls
//	/status   the set and its nodes, in JSON
//
// Addresses of the loopback interface are open as they are; any other one needs
// a token. With a token /status needs it; /healthz and /readyz do not, as those
// who probe them (load balancers, Kubernetes) have no secrets, and there are none
// in the answers.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
)

// ErrTokenNeeded is what [Listen] returns for an address that others can reach
// when there is no token.
var ErrTokenNeeded = errors.New("a token is needed to serve other addresses than those of the loopback interface")

// Set is what there is to tell about; supervisor.Set is one.
type Set interface {
	Ready() (ready, want int)
	Nodes() []*worker.Node
	Status() builtin.SetStatus
}

// Bounds of a request: how long it may take, and how long a connection may idle.
const (
	requestTime = 5 * time.Second
	idleTime    = time.Minute
	maxHeader   = 8 << 10
)

// Config says what a [Server] serves, and to whom.
type Config struct {
	Addr  string // host:port; port 0 for a free one
	Token link.Secret
	Set   Set
}

// Server serves the pages of one set. Make one with [Listen].
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Validate reports what is wrong with the address, and a token that is missing.
func (c Config) Validate() error {
	_, err := c.resolve()
	return err
}

func (c Config) resolve() (*net.TCPAddr, error) {
	addr, err := net.ResolveTCPAddr("tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w: use host:port, such as 127.0.0.1:8080", c.Addr, err)
	}
	if c.Token.IsZero() && !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("admin address %s: %w", c.Addr, ErrTokenNeeded)
	}
	return addr, nil
}

// Listen opens the address. Requests wait until [Server.Serve].
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	addr, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("admin address %s: %w", cfg.Addr, err)
	}
	return &Server{listener: l, http: &http.Server{
		Handler: Handler(cfg.Set, cfg.Token), ReadTimeout: requestTime, ReadHeaderTimeout: requestTime, WriteTimeout: requestTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
	}}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers until ctx ends, then finishes the requests that it has in hand.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("admin: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.http.Shutdown(stopping); err != nil {
		return errors.Join(fmt.Errorf("admin: %w", err), s.http.Close())
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// Close closes a server that was not served.
func (s *Server) Close() error { return s.listener.Close() }

// Readiness is what /readyz answers.
type Readiness struct {
	Ready int `json:"ready"` // nodes that run
	Want  int `json:"want"`  // nodes that should
	// Quiet: they claim no tasks, by request or because of zombies.
	Quiet bool `json:"quiet,omitempty"`
}

// Handler returns the pages of a set. Without a token all are open.
func Handler(set Set, token link.Secret) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s := set.Status(); !s.Healthy {
			answer(w, http.StatusServiceUnavailable, map[string]any{
				"status": "too many handlers outlived their nodes", "zombies": s.Zombies,
			})
			return
		}
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var r Readiness
		s := set.Status()
		r.Ready, r.Want = set.Ready()
		r.Quiet = s.Quiet || !s.Healthy
		code := http.StatusOK
		if r.Ready < r.Want {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, r)
	})
	mux.Handle("GET /status", guarded(func(w http.ResponseWriter, _ *http.Request) {
		nodes := []builtin.Status{}
		for _, n := range set.Nodes() {
			nodes = append(nodes, n.Status())
		}
		answer(w, http.StatusOK, map[string]any{"set": set.Status(), "nodes": nodes})
	}, token))
	return mux
}

// guarded lets those through who know the token.
func guarded(next http.HandlerFunc, token link.Secret) http.Handler {
	if token.IsZero() {
		return next
	}
	want := sha256.Sum256([]byte(token.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(given)) // of equal length, so that the comparison tells nothing
		if subtle.ConstantTimeCompare(sum[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, map[string]string{"error": "a bearer token is needed"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone misses it
}
