package rpcregistry

// Target says which nodes a call goes to. The zero Target is none: a call to it ends with
// [ErrNoSuchTarget], as do calls to Node("") and Connection("").
type Target struct {
	all              bool
	node, connection string
}

// All returns the target of every node of the cluster, the caller's own node included.
func All() Target { return Target{all: true} }

// Node returns the target of the node with that id.
func Node(id string) Target { return Target{node: id} }

// Connection returns the target of the node that holds a client connection. The method
// finds the connection's id in its context (see [FromContext]).
func Connection(id string) Target { return Target{connection: id} }

// String returns the target for people to read: "all", the node's id, or "connection" and
// the connection's id.
func (t Target) String() string {
	switch {
	case t.connection != "":
		return "connection " + t.connection
	case t.node != "":
		return t.node
	case t.all:
		return "all"
	default:
		return "nobody"
	}
}
