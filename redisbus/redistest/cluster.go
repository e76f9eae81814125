package redistest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// slots is the number of slots of every Redis Cluster.
const slots = 16384

// Cluster is a Redis Cluster of three masters.
type Cluster struct {
	Nodes     []*Server
	Addresses []string
}

// StartCluster starts three redis-servers and makes a Redis Cluster of them.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{}
	for range 3 {
		c.Join(t)
	}
	for i, n := range c.Nodes {
		n.do(t, "cluster", "addslotsrange", i*slots/3, (i+1)*slots/3-1)
	}
	c.Await(t, "cluster_state:ok", "cluster_slots_assigned:"+strconv.Itoa(slots), "cluster_known_nodes:3")
	return c
}

// Config returns the configuration to connect to the cluster.
func (c *Cluster) Config() link.Config {
	return link.Config{URL: "redis+cluster://" + strings.Join(c.Addresses, ",")}
}

// Join starts one more node, without slots, and introduces it to the first node.
func (c *Cluster) Join(t testing.TB) *Server {
	t.Helper()
	port, busPort := freePort(t), freePort(t)
	n := Start(t, "--bind", "127.0.0.1", "--port", port, "--cluster-port", busPort, "--cluster-enabled", "yes",
		"--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf")
	c.Nodes, c.Addresses = append(c.Nodes, n), append(c.Addresses, net.JoinHostPort("127.0.0.1", port))
	if len(c.Nodes) > 1 {
		c.introduce(t, port, busPort)
	}
	return n
}

// introduce tells the first node of the last one until it knows it: a node forgets one that
// does not answer within a second, as on a busy machine.
func (c *Cluster) introduce(t testing.TB, port, busPort string) {
	t.Helper()
	known := fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes))
	var last time.Time
	await(t, "CLUSTER INFO with "+known, func() bool {
		if time.Since(last) > time.Second {
			c.Nodes[0].do(t, "cluster", "meet", "127.0.0.1", port, busPort)
			last = time.Now()
		}
		info, _ := c.Nodes[0].do(t, "cluster", "info").(string)
		return strings.Contains(info, known+"\r")
	})
}

// Await waits until the CLUSTER INFO of every node has these lines.
func (c *Cluster) Await(t testing.TB, lines ...string) {
	t.Helper()
	for _, n := range c.Nodes {
		await(t, fmt.Sprintf("CLUSTER INFO with %q", lines), func() bool {
			info, _ := n.do(t, "cluster", "info").(string)
			for _, line := range lines {
				if !strings.Contains(info, line) {
					return false
				}
			}
			return true
		})
	}
}

// Owner returns the node that serves the slot of a key.
func (c *Cluster) Owner(t testing.TB, key string) *Server {
	t.Helper()
	for _, n := range c.Nodes {
		if _, err := n.try("exists", key); err == nil {
			return n
		}
	}
	t.Fatalf("no node serves the slot of %s", key)
	return nil
}

// Do runs a command on this server and returns the reply. An error fails the test.
func (s *Server) Do(t testing.TB, words ...any) any {
	t.Helper()
	return s.do(t, words...)
}

func (s *Server) do(t testing.TB, words ...any) any {
	t.Helper()
	reply, err := s.try(words...)
	if err != nil {
		t.Fatalf("%v: %s", words, err)
	}
	return reply
}

func (s *Server) try(words ...any) (any, error) {
	c := redis.NewClient(s.options())
	defer func() { _ = c.Close() }()
	return c.Do(context.Background(), words...).Result()
}

func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
