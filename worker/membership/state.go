package membership

// State is the state of a node's life; the documentation of package worker draws the states.
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
