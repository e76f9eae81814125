package rpcregistry

// Target is whom a call is for. The zero Target is [All].
type Target struct{ node, connection string }

// All are all nodes of the cluster, the caller's own included.
func All() Target { return Target{} }

// Node is one node, by its id.
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
