package guard

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
	"net/http/httputil"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Bounds of what is handed over to the children.
const (
	// handTime is how long a child may take for a response. It is less than the guardian's server gives
	// the client, so that the client is told.
	handTime = 4 * time.Second
	// mostHanded is how many requests are with the children at a time.
	mostHanded = 64
	// mostBody is the size of the longest body of a request, and mostPage that of a page which
	// [Guardian.Gather] reads, in bytes.
	mostBody = 1 << 20
	mostPage = 16 << 20
)

// errNotReady reports that the child of a slot does not run, or none of its nodes does.
var errNotReady = errors.New("the process is not ready")

// Handover returns the handler that hands each request to a ready child, and answers 503 if there is none. The children
// serve [Child.Listener].
func (g *Guardian) Handover() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(*httputil.ProxyRequest) {}, // the URL's host is the slot, chosen by handed
		Transport: handed{g},
		ErrorLog:  stdlog.New(io.Discard, "", 0), // anybody who asks could fill standard error
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			unavailable(w, fmt.Sprintf("no process could answer (%v): /readyz and the log tell why, ask again when one is ready", err))
		},
	}
	places := make(chan struct{}, mostHanded)
	return http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			unavailable(w, fmt.Sprintf("%d requests are under way: ask again later", mostHanded))
			return
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), handTime, fmt.Errorf("not within %s", handTime))
		defer cancel()
		proxy.ServeHTTP(w, r.WithContext(ctx))
	}), mostBody)
}

func unavailable(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // an error means that the client has gone
}

// handed sends requests to whatever child is ready.
type handed struct{ g *Guardian }

// RoundTrip implements http.RoundTripper. A request without a body goes to the next child if one fails.
func (h handed) RoundTrip(r *http.Request) (*http.Response, error) {
	err := errNotReady
	for _, s := range h.g.slots {
		if !s.ready() {
			continue
		}
		answer, failed := h.g.children.RoundTrip(toSlot(r, s.number))
		if failed == nil {
			return answer, nil
		}
		if err = cmp.Or(context.Cause(r.Context()), failed); r.Context().Err() != nil || r.Body != nil && r.Body != http.NoBody {
			break
		}
	}
	return nil, err
}

// Answer is the page of one child.
type Answer struct {
	Slot int // from 0
	Page []byte
	Err  error // why there is no page
}

// Gather asks all children that are not retired for the page of the request, which has no body, and returns
// their answers by slot. It takes four seconds at most.
func (g *Guardian) Gather(r *http.Request) []Answer {
	answers := make([]Answer, len(g.slots))
	var asking sync.WaitGroup
	for i, s := range g.slots {
		answers[i].Slot = s.number
		asking.Go(func() { answers[i].Page, answers[i].Err = s.ask(r) })
	}
	asking.Wait()
	return slices.DeleteFunc(answers, func(a Answer) bool { _, retired := g.slots[a.Slot].state(); return retired })
}

// ask returns the page of the child that the request is for.
func (s *slot) ask(r *http.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), handTime)
	defer cancel()
	r = toSlot(r.WithContext(ctx), s.number)
	r.Body, r.ContentLength = nil, 0
	answer, err := s.g.children.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the process answers %s", answer.Status)
	}
	return io.ReadAll(http.MaxBytesReader(nil, answer.Body, mostPage))
}

// toSlot returns the request with a slot's number for the URL's host, which the transport dials. The header Host
// stays: the child tells by it whether a web page in a browser asks.
func toSlot(r *http.Request, slot int) *http.Request {
	r = r.Clone(r.Context())
	r.Host = cmp.Or(r.Host, r.URL.Host)
	r.URL.Scheme, r.URL.Host = "http", "process-"+strconv.Itoa(slot)
	return r
}

// transport returns the transport to the children. A connection is used once: it is cheap, and none outlives
// its child.
func (g *Guardian) transport() *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			var slot int
			if _, err := fmt.Sscanf(addr, "process-%d:", &slot); err != nil {
				return nil, err
			}
			return g.slots[slot].connect()
		},
	}
}

// ready reports whether a node of the child runs.
func (s *slot) ready() bool {
	now, retired := s.state()
	return now.Ready > 0 && !retired
}

// connect opens a connection to the pages of the child: its other end goes over the pipe.
func (s *slot) connect() (net.Conn, error) {
	l := s.present()
	if l == nil {
		return nil, errNotReady
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	conn, err := net.FileConn(ours)
	err = errors.Join(err, ours.Close())
	if err == nil {
		err = l.pipe.send(message{Connect: true}, theirs)
	}
	if err := errors.Join(err, theirs.Close()); err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, err
	}
	return conn, nil
}
