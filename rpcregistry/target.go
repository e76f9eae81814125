package rpcregistry

// Target is where a call goes. The zero Target is [All].
type Target struct{ node, connection string }

// All is every node of the cluster, the caller's own included.
func All() Target { return Target{} }

// Node is the node with that id.
func Node(id string) Target { return Target{node: id} }

// Connection is the node that holds a client connection. The method learns the
// connection's id from its context ([FromContext]).
func Connection(id string) Target { return Target{connection: id} }

// String names the target in errors.
func (t Target) String() string {
	switch {
	case t.connection != "":
		return "connection " + t.connection
	case t.node != "":
		return t.node
	default:
		return "all"
	}
}
