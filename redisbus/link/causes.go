package link

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Cause is why Redis cannot be used, in one word.
type Cause string

// The causes that [CauseOf] returns.
const (
	CauseNone       Cause = ""            // the error is about the command, not about Redis
	CauseConnection Cause = "connection"  // an open connection broke
	CauseRefused    Cause = "unreachable" // no connection can be opened
	CauseSilent     Cause = "silent"      // no answer in time
	CauseTLS        Cause = "tls"
	CauseBusyPool   Cause = "pool" // all connections of this process are in use
	CauseLoading    Cause = "loading"
	CauseReplica    Cause = "replica"  // READONLY: not the primary, or not any more
	CauseCluster    Cause = "cluster"  // the Redis Cluster moves its slots, or is down
	CauseReplicas   Cause = "replicas" // fewer replicas than min-replicas-to-write
	CauseDisk       Cause = "disk"     // it cannot save its data
	CauseScript     Cause = "script"   // a long script blocks it
	CausePassword   Cause = "password" // wrong user or password
	CauseRights     Cause = "rights"   // an ACL forbids the command
	CauseClients    Cause = "clients"  // maxclients reached
	CauseMemory     Cause = "memory"   // maxmemory reached
	CauseType       Cause = "type"     // a key of the namespace has another type: a WrongTypeError
	CauseSize       Cause = "size"     // it does not read a request of that size
)

// causeTexts tells an operator for each cause what is wrong and what to do; "it" is Redis.
var causeTexts = map[Cause]string{
	CauseConnection: "the connection broke",
	CauseRefused:    "no connection: it is down, or the address is wrong",
	CauseSilent:     "no answer in time: it is overloaded or stopped, or the network is cut",
	CauseTLS: "TLS failed: its certificate is not signed by an authority that is trusted here or not for this host, " +
		"or it does not accept ours (see the CA, certificate and key files)",
	CauseBusyPool: "all connections of this process are in use",
	CauseLoading:  "it has just started and loads its data",
	CauseReplica:  "this server is a replica, which takes no writes: a failover is under way, or the address is not the primary's",
	CauseCluster:  "the Redis Cluster is down or moves the namespace's slot",
	CauseReplicas: "too few replicas are connected to the primary (min-replicas-to-write)",
	CauseDisk:     "it cannot write to its disk and refuses writes: see its log",
	CauseScript:   "a script runs for long and blocks it",
	CausePassword: "it does not accept this user and password: set the right ones and restart",
	CauseRights:   "this user lacks a permission (ACL): see the rules in the documentation",
	CauseClients:  "it has as many clients as it accepts (maxclients): a set of N nodes needs 3N + 10, so raise it or start fewer nodes",
	CauseMemory:   "out of memory (maxmemory): it refuses writes",
	CauseType:     "a key of the namespace belongs to something else",
	CauseSize:     "it does not read a request of this size (proto-max-bulk-len)",
}

// replyCauses maps the beginnings of error replies to their causes: those replies that are
// about the server and not about the command, so that the command may succeed later.
var replyCauses = []struct {
	prefix string
	cause  Cause
}{
	{"LOADING ", CauseLoading}, {"READONLY ", CauseReplica}, {"MASTERDOWN ", CauseReplica},
	{"CLUSTERDOWN ", CauseCluster}, {"TRYAGAIN ", CauseCluster}, {"MOVED ", CauseCluster}, {"ASK ", CauseCluster},
	{"NOREPLICAS ", CauseReplicas}, {"MISCONF ", CauseDisk}, {"BUSY ", CauseScript},
	{"NOAUTH ", CausePassword}, {"WRONGPASS ", CausePassword}, {"NOPERM ", CauseRights},
	{"ERR max number of clients", CauseClients}, {"UNBLOCKED ", CauseReplica}, {"ERR Protocol error", CauseSize},
	// Replies of Redis before 6, and of a server without a password to a client that sends one.
	{"ERR invalid password", CausePassword}, {"ERR Client sent AUTH", CausePassword}, {"ERR AUTH <password> called without", CausePassword},
}

// CauseOf returns why a command failed if the reason is Redis, its data or the connection,
// and [CauseNone] if it is the command itself.
func CauseOf(err error) Cause {
	if err == nil || errors.Is(err, redis.Nil) {
		return CauseNone
	}
	if _, wrong := errors.AsType[*WrongTypeError](err); wrong {
		return CauseType
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		return causeOfReply(reply.Error())
	}
	if isTLS(err) {
		return CauseTLS
	}
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) {
		return CauseBusyPool
	}
	return causeOfNetwork(err)
}

func causeOfNetwork(err error) Cause {
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
	op, isOp := errors.AsType[*net.OpError](err)
	_, isName := errors.AsType[*net.DNSError](err)
	switch {
	case is(syscall.ECONNREFUSED, os.ErrNotExist):
		return CauseRefused
	case is(context.DeadlineExceeded, os.ErrDeadlineExceeded), isOp && op.Op == dialing && op.Timeout():
		return CauseSilent
	case isOp && op.Op == dialing, isName:
		return CauseRefused
	case isOp, is(io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, io.ErrClosedPipe, syscall.EPIPE, syscall.ECONNRESET):
		return CauseConnection
	default:
		return CauseNone
	}
}

func causeOfReply(text string) Cause {
	text = strings.TrimPrefix(text, "EXECABORT Transaction discarded because of: ")
	for _, r := range replyCauses {
		if strings.HasPrefix(text, r.prefix) {
			return r.cause
		}
	}
	// Redis refuses a script at maxmemory before its first write.
	if strings.HasPrefix(text, "OOM ") || strings.Contains(text, "-OOM ") || strings.Contains(text, "OOM command not allowed") {
		return CauseMemory
	}
	if strings.Contains(text, "ACL failure in script") || strings.HasPrefix(text, "ERR The user executing the script can't ") {
		return CauseRights
	}
	return CauseNone
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ")
}
