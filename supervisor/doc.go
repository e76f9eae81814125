// Package supervisor runs the node set of one process: it starts N nodes under a
// suture supervisor tree, restarts crashed nodes, and stops all nodes in order.
//
//	Set.Serve
//	├── host                  shared work, such as heartbeats; outlives the nodes
//	└── nodes                 one suture supervisor each, so that a flapping node
//	    ├── slot 1            delays nobody else's restart
//	    │   └── worker.Node   one life after the other
//	    └── slot 2 …
//
// Embed it:
//
//	set, err := supervisor.New(supervisor.Config{Workers: 4, Redis: link.Config{URL: url}}, app, log)
//	if err != nil { … }
//	err = set.Serve(ctx) // returns when every node has drained
//
// The library installs no signal handlers and reads no environment; package
// supervisor/cli does.
package supervisor
