package worker

// State is where a node is in its life; see the package's drawing.
type State string

// The states of a node.
const (
	Starting State = "starting"
	Joining  State = "joining"
	Running  State = "running"
	Draining State = "draining"
	Stopped  State = "stopped"
	Crashed  State = "crashed"
)
