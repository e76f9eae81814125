package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"github.com/stellarfw/stellar/worker/builtin"
)

// requireToken answers 401 to requests without the token.
func (c Config) requireToken(next http.Handler) http.Handler {
	if c.Token.IsZero() {
		return next
	}
	want := sha256.Sum256([]byte(c.Token.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		sum := sha256.Sum256([]byte(given)) // hashes have equal length, so that the time of the comparison reveals nothing
		if subtle.ConstantTimeCompare(sum[:], want[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", "Bearer")
			respond(w, http.StatusUnauthorized, map[string]string{"error": "a bearer token is needed"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local is requireToken where there is a token. Else it answers 421 unless the client calls
// the server by a name of the loopback interface or the configured one: a web page whose host
// name leads to 127.0.0.1 could read the page in the browser of a user.
func (c Config) local(next http.Handler) http.Handler {
	if !c.Token.IsZero() {
		return c.requireToken(next)
	}
	own := hostOf(c.Addr)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOf(r.Host)
		ip := net.ParseIP(host)
		if host != own && host != "localhost" && !ip.IsLoopback() {
			respond(w, http.StatusMisdirectedRequest, map[string]string{"error": "call it 127.0.0.1 or localhost, or set an admin token"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf returns the host of an address with or without a port, in lower case.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	return strings.ToLower(host)
}

// countsOf returns the zombies without the ids of their tasks, which may be personal data.
func countsOf(z builtin.Zombies) builtin.Zombies {
	z.Tasks = nil
	return z
}

// withoutTexts removes what tasks and their errors say from the status of a set and its nodes.
func withoutTexts(s *builtin.SetStatus, nodes []builtin.Status) {
	s.Zombies = countsOf(s.Zombies)
	crashed := make([]builtin.NodeCrashes, len(s.Crashed))
	for i, c := range s.Crashed {
		crashed[i] = builtin.NodeCrashes{Node: c.Node, Crashes: builtin.Crashes{Count: c.Count, At: c.At}}
	}
	s.Crashed = crashed
	for _, o := range []**builtin.Operation{&s.Operation, &s.GuardianOperation} {
		if *o != nil && (*o).Error != "" {
			silent := **o
			silent.Error = "see the log"
			*o = &silent
		}
	}
	for i, n := range nodes {
		if n.Crashes != nil {
			nodes[i].Crashes = &builtin.Crashes{Count: n.Crashes.Count, At: n.Crashes.At}
		}
	}
}
