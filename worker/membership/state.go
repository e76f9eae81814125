package membership

// State is where a member is in its life; package worker draws it.
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
