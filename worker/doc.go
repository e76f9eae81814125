// Package worker is one node of the cluster: an id, an incarnation, three
// connections to Redis and an [API] for the handlers that run on it.
//
// A [Node] is one life, from joining the cluster to leaving it; after a crash the
// supervisor makes a new Node. A node has two storeys. The base storey (lease, bus, RPC)
// outlives the work storey (tasks, client connections), so that a draining node still
// renews its lease and answers calls:
//
//	starting ─▶ joining ─▶ running ─▶ draining ─▶ stopped
//	    │          │          │          │
//	    └──────────┴──────────┴──────────┴──────▶ crashed
//
//	starting  waits for Redis
//	joining   has an id and a lease; opens its connections, starts the base storey
//	running   claims and runs tasks
//	draining  claims no more; finishes the tasks that it has in hand
//	stopped   was handed over and left
//	crashed   a panic or an error in its own loops, or its lease was lost
//
// A task is in hand from its claim until its end is committed or it is given back.
// However a life ends, it is handed over: the tasks in hand go back to the front of their
// queues, the locks and client connections are freed, and the id is free again. The [Host],
// which all nodes of a process share, hands over its own nodes at once, and the nodes of
// processes that died when their leases have run out.
//
// The built-in RPC methods api.* of a node are in package builtin.
package worker
