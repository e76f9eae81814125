// Package worker is one node of the cluster: an id, an incarnation, three
// connections to Redis and an [API] for the handlers that run on it.
//
// A [Node] is one life; the supervisor makes a new one after a crash. It has two
// storeys. The base storey (lease, bus, RPC) outlives the work storey (tasks,
// client connections), so that a node which drains still renews its lease and
// answers calls:
//
//	starting ─▶ joining ─▶ running ─▶ draining ─▶ stopped
//	    │          │          │          │
//	    └──────────┴──────────┴──────────┴──────▶ crashed
//
//	starting  waits for Redis
//	joining   has an id and a lease; opens its connections, starts the base storey
//	running   claims and runs tasks
//	draining  claims no more; finishes what it has in hand
//	stopped   gave everything back and left
//	crashed   a panic or an error in its own loops, or its lease was lost
//
// However a life ends, it is settled: what it had in hand goes back to the front
// of its queues, its locks and client connections are freed, its id is free
// again. The [Host], which all nodes of a process share, does that at once for
// its own nodes and by lease for those of processes that died.
//
// What a node answers to calls of api.* is in package builtin.
package worker
