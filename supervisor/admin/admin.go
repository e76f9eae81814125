// Package admin serves the health of a node set over HTTP:
//
//	/healthz  200 while the process serves; 503 when so many handlers outlived
//	          their nodes that no tasks are claimed: then restart the process
//	/readyz   200 when all nodes run, 503 otherwise, also when Redis has not
//	          answered for three seconds; the number of running nodes, in JSON. A
//	          quiet set is ready: it answers calls
//	/status   the set and its nodes, in JSON
//
// A token is required to serve on any address except those of the loopback interface. With
// a token, requests of /status need it; requests of /healthz and /readyz do not, because
// load balancers and Kubernetes send none, and the responses contain counts only. Without a
// token, /status leaves out what tasks and their errors say, and a [Server] answers it under
// the names of the loopback interface only, so that no web page reads it in a browser.
package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log" //nolint:depguard // net/http wants one
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
)

// ErrTokenNeeded is the error of [Listen] and [Config.Validate] for an address outside the
// loopback interface without a token.
var ErrTokenNeeded = errors.New("a token is needed to serve other addresses than those of the loopback interface")

// ErrInUse is the error of [Listen] and [Check] for an address on which a process listens
// already.
var ErrInUse = errors.New("another process listens there: stop it, or use another port")

// Set is the node set whose health is served; supervisor.Set implements it.
type Set interface {
	Ready() (ready, want int)
	Nodes() []*worker.Node
	Status() builtin.SetStatus
}

// Bounds of a request: how long it and its header may take, and how long a connection may idle.
const (
	headerTime  = 2 * time.Second
	requestTime = 5 * time.Second
	idleTime    = time.Minute
	maxHeader   = 8 << 10
)

// Config configures a [Server].
type Config struct {
	Addr string // host:port; port 0 for a free one
	// Token opens /status, as a bearer token. It has to be strong: see link.Secret.Validate.
	Token link.Secret
	Set   Set
	// Connections is how many connections may be open at a time. One more closes the
	// connection that was idle longest. Default [MaxConnections].
	Connections int
	// Other, when set, answers requests for other pages than those of this package.
	Other http.Handler
	// Processes, when set, returns what /status says of the child processes, of which [Config.Set] is the sum.
	Processes func(r *http.Request) any
	// LostLines, when set, returns how many lines of the log could not be written; /status
	// shows the number.
	LostLines func() int64
}

// Server serves the pages of one set. Make one with [Listen].
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Validate returns an error if the address is invalid, or needs a token and has none, and a
// link.ErrWeakSecret if somebody could guess the token.
func (c Config) Validate() error {
	_, err := c.resolve()
	return err
}

func (c Config) resolve() (*net.TCPAddr, error) {
	addr, err := net.ResolveTCPAddr("tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w: use host:port, such as 127.0.0.1:8080", c.Addr, err)
	}
	if err := c.Token.Validate(); err != nil {
		return nil, fmt.Errorf("admin token: %w: choose at least 16 random bytes", err)
	}
	if c.Token.IsZero() && !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("admin address %s: %w", c.Addr, ErrTokenNeeded)
	}
	return addr, nil
}

// Listen opens the address. Requests are answered from [Server.Serve] on.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	addr, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String())
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, errInUseOnWindows) {
		err = ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("admin address %s: %w", cfg.Addr, err)
	}
	return On(l, cfg), nil
}

// On returns the server on a listener that is open already.
func On(l net.Listener, cfg Config) *Server {
	return &Server{listener: l, http: &http.Server{
		Handler: cfg.handler(cfg.local), ReadTimeout: requestTime, ReadHeaderTimeout: headerTime, WriteTimeout: requestTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ConnState: newConnections(cmp.Or(cfg.Connections, MaxConnections)).changed,
		ErrorLog:  stdlog.New(io.Discard, "", 0), // anybody who connects could fill standard error
	}}
}

// errInUseOnWindows is EADDRINUSE on Windows (WSAEADDRINUSE); elsewhere no error has this number.
const errInUseOnWindows = syscall.Errno(10048)

// Check returns the error with which [Listen] would fail now.
func Check(ctx context.Context, cfg Config) error {
	s, err := Listen(ctx, cfg)
	if err != nil {
		return err
	}
	return s.Close()
}

// Addr returns the address on which the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until ctx ends, and then finishes the running requests within a
// second.
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

// Readiness is the response of /readyz.
type Readiness struct {
	Ready int `json:"ready"` // nodes that run
	Want  int `json:"want"`  // nodes that should run
	// Quiet: the nodes claim no tasks, because an operator asked for it or because too many
	// handlers outlived their nodes.
	Quiet bool `json:"quiet,omitempty"`
}

// Handler returns the pages of a set, to be served among others. Without a token all pages are
// open, also to web pages in a browser: then the caller has to guard /status.
func Handler(set Set, token link.Secret) http.Handler {
	c := Config{Set: set, Token: token}
	return c.handler(c.requireToken)
}

// handler returns the pages; guard guards /status.
func (c Config) handler(guard func(http.Handler) http.Handler) http.Handler {
	set := c.Set
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s := set.Status(); !s.Healthy {
			respond(w, http.StatusServiceUnavailable, map[string]any{
				"status": "too many handlers outlived their nodes", "zombies": countsOf(s.Zombies),
			})
			return
		}
		respond(w, http.StatusOK, map[string]string{"status": "ok"})
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
		respond(w, code, r)
	})
	mux.Handle("GET /status", guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, nodes := set.Status(), []builtin.Status{}
		for _, n := range set.Nodes() {
			nodes = append(nodes, n.Status())
		}
		if c.Token.IsZero() {
			withoutTexts(&status, nodes)
		}
		page := map[string]any{"set": status, "nodes": nodes}
		if c.Processes != nil {
			page["processes"] = c.Processes(r)
		}
		if c.LostLines != nil {
			page["lostLogLines"] = c.LostLines()
		}
		respond(w, http.StatusOK, page)
	})))
	if c.Other != nil {
		mux.Handle("/", c.Other)
	}
	return mux
}

func respond(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has gone
}
