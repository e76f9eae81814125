package link

import "strings"

// Part is a part of a namespace's data.
type Part string

// The parts of a namespace's data.
const (
	PartCache Part = "cache" // entries and lists
	PartLocks Part = "locks"
	PartNodes Part = "nodes" // members and their connections, and what the cluster agrees on
	PartTasks Part = "tasks" // tasks and queues
)

// partsOfKeys has the parts of the [kinds] that do not belong to the tasks.
var partsOfKeys = map[string]Part{
	"lock": PartLocks, "loader": PartLocks, "locks": PartLocks,
	"layout": PartNodes, "token": PartNodes, "epoch": PartNodes, "numbers": PartNodes, "clock": PartNodes, "members": PartNodes,
	"leases": PartNodes, "reaping": PartNodes, "aliens": PartNodes, "connections": PartNodes,
}

// SplitKey returns the namespace of a key and the part of its data to which the key belongs. ok
// is false for a key that no namespace has.
func SplitKey(key string) (namespace string, part Part, ok bool) {
	tagged, ok := strings.CutPrefix(key, "{")
	namespace, name, cut := strings.Cut(tagged, "}:")
	if !ok || !cut || CheckNamespace(namespace) != nil {
		return "", "", false
	}
	if strings.HasPrefix(name, "cache:") {
		return namespace, PartCache, true
	}
	if kindOf(key) == "" {
		return "", "", false
	}
	first, _, _ := strings.Cut(name, ":")
	if part, ok = partsOfKeys[first]; !ok {
		part = PartTasks
	}
	return namespace, part, true
}
