package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// endpoint dials the primary: the server that has the namespace's keys. All keys of a
// namespace live on one server at a time, also in a Redis Cluster (see [Keys]), so every
// connection goes to that server. With Sentinels or a Cluster, every dial first asks the
// Sentinels or the Cluster's nodes for the primary's address. When a server answers that
// it is no longer the primary, all connections are closed, those of subscribers included;
// new connections go to the new primary.
//
// The client library's own Sentinel and Cluster clients do that too, but the Sentinel
// client keeps two more connections for each client, and the Cluster client repeats
// commands after an error.
type endpoint struct {
	network, addr string
	db            int
	credentials   credentials
	tls           *tls.Config
	files         TLSFiles
	dialer        func(context.Context) (net.Conn, error)
	hooks         []redis.Hook // around all others

	discovery string
	hosts     []string    // the configured Sentinels, or nodes of the Cluster
	primary   string      // the primary's name among the Sentinels
	sentinels credentials // for the Sentinels themselves
	key       string      // any key of the namespace: all have its slot

	mu    sync.Mutex
	known []string                  // further nodes of the Cluster, named by those that were asked
	open  map[*trackedConn]struct{} // the connections to the primary
}

// credentials are the user and the password for a server.
type credentials struct {
	username string
	password Secret
}

// give is the client library's CredentialsProvider: the library would keep a password that it
// is given as a text.
func (c credentials) give() (username, password string) { return c.username, c.password.Reveal() }

// queuePause is about how long to wait before dialling again when a Unix socket's queue
// of new connections is full.
const queuePause = 5 * time.Millisecond

// askTimeout bounds the request to one Sentinel or node. Three requests fit into
// dialTimeout: of three Sentinels two may be silent.
const askTimeout = 300 * time.Millisecond

// address returns the text that the client library shows as the server's address.
func (e *endpoint) address() string {
	switch {
	case e.discovery == bySentinels:
		return e.primary
	case e.addr != "":
		return e.addr
	default:
		return "embedded"
	}
}

// client returns a client whose connections go to the primary.
func (e *endpoint) client(o *redis.Options, outer ...redis.Hook) *redis.Client {
	c := redis.NewClient(o)
	for _, h := range slices.Concat(e.hooks, outer) {
		c.AddHook(h)
	}
	c.AddHook(cancelGate{})
	c.AddHook(newWrongTypeHook())
	if e.discovery != oneServer {
		c.AddHook(failoverHook{e})
	}
	c.AddHook(newTurns(o.PoolSize / poolPlaces))
	return c
}

// dial opens a connection to the primary. Its error is a net.OpError of the operation
// [dialing], unless it comes from Config.Dial.
func (e *endpoint) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if e.dialer != nil {
		return e.dialer(ctx)
	}
	network, addr := e.network, e.addr
	if e.discovery != oneServer {
		network = "tcp"
		var err error
		if addr, err = e.find(ctx); err != nil {
			return nil, &net.OpError{Op: dialing, Net: e.discovery, Err: err}
		}
	}
	conn, err := e.connect(ctx, network, addr)
	for errors.Is(err, syscall.EAGAIN) { // a Unix socket's queue is full, such as when a thousand nodes start
		if Sleep(ctx, Backoff(queuePause, 4*queuePause, 2)) != nil {
			break
		}
		conn, err = e.connect(ctx, network, addr)
	}
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != dialing {
			err = &net.OpError{Op: dialing, Net: network, Err: err}
		}
		return nil, err
	}
	return e.track(conn), nil
}

func (e *endpoint) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	if e.tls == nil {
		return plain.DialContext(ctx, network, addr)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return (&tls.Dialer{NetDialer: plain, Config: e.tls}).DialContext(ctx, network, addr)
}

// find asks the Sentinels or nodes one after the other, in a random order, for the
// primary's address.
func (e *endpoint) find(ctx context.Context) (string, error) {
	e.mu.Lock()
	hosts := slices.Concat(e.hosts, e.known)
	e.mu.Unlock()
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] }) //nolint:gosec // spreads the load
	ask := e.askNode
	if e.discovery == bySentinels {
		ask = e.askSentinel
	}
	var errs []error
	for _, host := range hosts {
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		addr, err := ask(asking, host)
		cancel()
		if err == nil {
			return addr, nil
		}
		errs = append(errs, fmt.Errorf("%s %s: %w", e.discovery, host, err))
		if ctx.Err() != nil {
			break
		}
	}
	return "", errors.Join(errs...)
}

func (e *endpoint) askOptions(host string) *redis.Options {
	return &redis.Options{
		Addr: host, TLSConfig: e.tls, CredentialsProvider: e.credentials.give,
		Protocol: 2, MaxRetries: -1, ContextTimeoutEnabled: true, DialTimeout: askTimeout, DialerRetries: 1,
		ReadTimeout: askTimeout, WriteTimeout: askTimeout, PoolSize: 1, PipelinePoolSize: -1,
		ReadBufferSize: smallBuffer, WriteBufferSize: smallBuffer, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (e *endpoint) askSentinel(ctx context.Context, host string) (string, error) {
	o := e.askOptions(host)
	o.CredentialsProvider = e.sentinels.give
	c := redis.NewSentinelClient(o)
	defer c.Close()
	addr, err := c.GetMasterAddrByName(ctx, e.primary).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", fmt.Errorf("it knows no primary named %q", e.primary) // redis.Nil would look like a missing key
	case err != nil:
		return "", err
	case len(addr) != 2:
		return "", fmt.Errorf("it answered %q", addr)
	}
	return net.JoinHostPort(addr[0], addr[1]), nil
}

func (e *endpoint) askNode(ctx context.Context, host string) (string, error) {
	c := redis.NewClient(e.askOptions(host))
	defer c.Close()
	var slot *redis.IntCmd
	var slots *redis.ClusterSlotsCmd
	if _, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		slot, slots = p.ClusterKeySlot(ctx, e.key), p.ClusterSlots(ctx)
		return nil
	}); err != nil {
		return "", err
	}
	self, _, err := net.SplitHostPort(host)
	if err != nil {
		return "", err
	}
	primary := ""
	var known []string
	for _, part := range slots.Val() {
		for i, node := range part.Nodes {
			addr := node.Addr
			if h, port, err := net.SplitHostPort(addr); err == nil && h == "" {
				addr = net.JoinHostPort(self, port) // a node that does not know its own host sends an empty one
			}
			if !slices.Contains(e.hosts, addr) && !slices.Contains(known, addr) {
				known = append(known, addr)
			}
			if i == 0 && int64(part.Start) <= slot.Val() && slot.Val() <= int64(part.End) {
				primary = addr
			}
		}
	}
	if primary == "" {
		return "", fmt.Errorf("no node serves slot %d", slot.Val())
	}
	e.mu.Lock()
	e.known = known
	e.mu.Unlock()
	return primary, nil
}

// track wraps a connection. With Sentinels or a Cluster it also remembers the connection
// until that is closed, for closeAll.
func (e *endpoint) track(conn net.Conn) net.Conn {
	t := &trackedConn{Conn: conn, endpoint: e}
	if e.discovery == oneServer {
		return t
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == nil {
		e.open = map[*trackedConn]struct{}{}
	}
	e.open[t] = struct{}{}
	return t
}

// closeAll closes all connections, because their server is not the primary any more.
func (e *endpoint) closeAll() {
	e.mu.Lock()
	open := e.open
	e.open = nil
	e.mu.Unlock()
	for t := range open {
		_ = t.Conn.Close()
	}
}

// trackedConn is an open connection.
type trackedConn struct {
	net.Conn
	endpoint *endpoint
	hasRead  atomic.Bool // something was read
	refusal  ReplyError  // the error with which Redis closed the connection before any command
}

func (t *trackedConn) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if n > 0 && !t.hasRead.Load() {
		t.hasRead.Store(true)
	}
	return n, err
}

// Write returns the error reply that Redis sends when it closes a connection before any
// command, such as that it has too many clients. The client library would not read that
// reply.
func (t *trackedConn) Write(b []byte) (int, error) {
	if t.refusal != "" {
		return 0, t.refusal
	}
	n, err := t.Conn.Write(b)
	if err == nil || t.hasRead.Load() {
		return n, err
	}
	_ = t.SetReadDeadline(time.Now().Add(ioTimeout))
	said := make([]byte, 512)
	if got, _ := t.Conn.Read(said); got > 1 && said[0] == '-' {
		text, _, _ := strings.Cut(string(said[1:got]), "\r\n")
		t.refusal = ReplyError(text)
		return n, t.refusal
	}
	return n, err
}

// ReplyError is an error reply of Redis that was read without the client library: on the
// bus, and on a connection that Redis closed before any command.
type ReplyError string

func (r ReplyError) Error() string { return string(r) }

// RedisError implements redis.Error.
func (ReplyError) RedisError() {}

func (t *trackedConn) Close() error {
	t.endpoint.mu.Lock()
	delete(t.endpoint.open, t)
	t.endpoint.mu.Unlock()
	return t.Conn.Close()
}

// SyscallConn lets the client library see that a pooled connection was closed.
func (t *trackedConn) SyscallConn() (syscall.RawConn, error) {
	conn := t.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if raw, ok := conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// failoverHook is a hook of the client library that closes all connections when the server
// answers that it is not the primary any more.
type failoverHook struct{ endpoint *endpoint }

func (failoverHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l failoverHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l.check(err)
		return err
	}
}

func (l failoverHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		l.check(err)
		for _, cmd := range cmds { // that of a transaction says only that it was not run
			l.check(cmd.Err())
		}
		return err
	}
}

func (l failoverHook) check(err error) {
	if err == nil {
		return
	}
	for _, gone := range []string{"MOVED ", "READONLY "} {
		if redis.HasErrorPrefix(err, gone) {
			l.endpoint.closeAll()
		}
	}
}
