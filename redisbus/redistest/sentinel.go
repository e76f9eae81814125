package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Sentinels are a primary and a replica that three Sentinels watch, under the
// name "mymaster".
type Sentinels struct {
	Primary, Replica *Server
	PrimaryAddress   string
	ReplicaAddress   string
	Watchers         []*Server
	Addresses        []string // of the Sentinels
}

// SentinelPassword is the password of the Sentinels themselves.
const SentinelPassword = "watch-and-tell"

// StartSentinels starts the five processes. The Sentinels fail over when the primary has
// not answered for half a second.
func StartSentinels(t testing.TB) *Sentinels {
	t.Helper()
	s := &Sentinels{}
	s.Primary, s.PrimaryAddress = startOnPort(t)
	s.Replica, s.ReplicaAddress = startOnPort(t)
	host, port, _ := net.SplitHostPort(s.PrimaryAddress)
	s.Replica.do(t, "replicaof", host, port)
	await(t, "the replica", func() bool {
		role, _ := s.Replica.do(t, "role").([]any)
		return len(role) > 3 && role[3] == "connected"
	})
	for range 3 {
		s.watch(t, host, port)
	}
	for _, w := range s.Watchers {
		await(t, "the Sentinels to know each other and the replica", func() bool {
			known, err := w.try("sentinel", "ckquorum", "mymaster")
			replicas, _ := w.do(t, "sentinel", "replicas", "mymaster").([]any)
			return err == nil && strings.HasPrefix(fmt.Sprint(known), "OK 3") && len(replicas) == 1
		})
	}
	return s
}

// Config returns the configuration to connect to the primary.
func (s *Sentinels) Config() link.Config {
	return link.Config{
		URL:              "redis+sentinel://" + strings.Join(s.Addresses, ",") + "/mymaster/0",
		SentinelPassword: link.NewSecret(SentinelPassword),
	}
}

func startOnPort(t testing.TB) (*Server, string) {
	t.Helper()
	port := freePort(t)
	s := Start(t, "--bind", "127.0.0.1", "--port", port, "--repl-diskless-sync-delay", "0")
	return s, net.JoinHostPort("127.0.0.1", port)
}

func (s *Sentinels) watch(t testing.TB, host, port string) {
	t.Helper()
	w := newServer(t)
	own := freePort(t)
	w.network, w.address = "tcp", net.JoinHostPort("127.0.0.1", own)
	w.password = SentinelPassword
	conf := filepath.Join(w.dir, "sentinel.conf")
	text := strings.Join([]string{
		"bind 127.0.0.1", "port " + own, "dir " + w.dir, "requirepass " + SentinelPassword,
		"sentinel monitor mymaster " + host + " " + port + " 2",
		"sentinel down-after-milliseconds mymaster 500", "sentinel failover-timeout mymaster 2000",
		"sentinel sentinel-pass " + SentinelPassword,
	}, "\n") + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.args = []string{conf, "--sentinel"}
	w.mustRun(t)
	// Sentinels check their servers only every few seconds; this shortens the periods.
	// Redis 6 does not know the command.
	_, _ = w.try("sentinel", "debug", "info-period", 100, "ping-period", 100, "publish-period", 100, "ask-period", 100, "slave-reconf-timeout", 1000)
	s.Watchers, s.Addresses = append(s.Watchers, w), append(s.Addresses, w.address)
}

// Handover pauses writes on the primary and waits until the replica has every write that
// the primary has answered. If the primary is then killed, no answered write is lost.
func (s *Sentinels) Handover(t testing.TB) {
	t.Helper()
	s.Primary.do(t, "client", "pause", 60_000, "write")
	await(t, "the replica to have everything", func() bool {
		return field(s.Primary.do(t, "info", "replication"), "master_repl_offset") ==
			field(s.Replica.do(t, "info", "replication"), "slave_repl_offset")
	})
}

// field returns the value of a field in the reply to INFO.
func field(info any, name string) string {
	_, rest, _ := strings.Cut(fmt.Sprint(info), "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// AwaitFailover waits until the replica is the primary and the Sentinels say so.
func (s *Sentinels) AwaitFailover(t testing.TB) {
	t.Helper()
	await(t, "the failover", func() bool {
		reply, err := s.Replica.try("role") // an error is no failure: the Sentinels close the replica's connections
		role, _ := reply.([]any)
		return err == nil && len(role) > 0 && role[0] == "master"
	})
}
