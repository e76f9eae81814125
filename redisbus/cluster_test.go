package redisbus_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// startCluster starts a Redis Cluster of two nodes that share the slots, and
// returns their addresses.
func startCluster(t *testing.T) (addresses []string) {
	t.Helper()
	var nodes []redis.UniversalClient
	var hosts, ports, busPorts []string
	for range 2 {
		address, busAddress := free(t), free(t)
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		_, busPort, err := net.SplitHostPort(busAddress)
		require.NoError(t, err)
		server := redistest.Start(t, "--port", port, "--cluster-port", busPort, "--cluster-enabled", "yes")
		nodes = append(nodes, redistest.Client(t, server.Config()))
		addresses, hosts, ports, busPorts = append(addresses, address), append(hosts, host), append(ports, port), append(busPorts, busPort)
	}
	ctx := t.Context()
	require.NoError(t, nodes[0].Do(ctx, "cluster", "addslotsrange", 0, 8191).Err())
	require.NoError(t, nodes[1].Do(ctx, "cluster", "addslotsrange", 8192, 16383).Err())
	require.NoError(t, nodes[0].Do(ctx, "cluster", "meet", hosts[1], ports[1], busPorts[1]).Err())
	for _, n := range nodes {
		require.Eventually(t, func() bool {
			info := n.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		}, 20*time.Second, 10*time.Millisecond)
	}
	return addresses
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// PUBLISH counts the receivers on the cluster node that it came to: whoever is
// there must be counted, or calls would find nobody.
func TestRedisClusterCountsReceivers(t *testing.T) {
	addresses := startCluster(t)
	var buses []*redisbus.Bus
	for i, id := range []string{"a", "b"} {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses[i:]})
		t.Cleanup(func() { _ = client.Close() })
		b, err := redisbus.NewBus(redisbus.BusConfig{
			Publisher: client, Subscriber: client, Keys: link.NewKeys("stellar"), Token: token,
			Identity: redisbus.Identity{ID: id, Incarnation: id + "#1:aa"}, Log: zerolog.Nop(), TokenKept: true,
		})
		require.NoError(t, err)
		serve(t, b)
		buses = append(buses, b)
	}
	hinted := make(chan struct{}, 10)
	buses[1].Hint(link.NewKeys("stellar").Due(), func() { hinted <- struct{}{} })
	receive(t, hinted)
	got := inbox(buses[1], "x")
	var last uint64
	for range 50 {
		n, err := buses[0].Send(t.Context(), "b", "x", nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		n, err = buses[0].Send(t.Context(), "nobody", "x", nil)
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, buses[0].Publish(t.Context(), "x", nil))
		require.True(t, receive(t, got).Directed)
		m := receive(t, got)
		require.False(t, m.Directed)
		if last > 0 {
			require.Equal(t, last+1, m.Seq)
		}
		last = m.Seq
	}
}
