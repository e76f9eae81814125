package redisbus

import (
	"errors"
	"fmt"
	"strings"
)

// Identity is one life of a node, or a command that talks to the cluster.
type Identity struct {
	// ID is the serverId of its messages and names its inbox, such as "stellar-worker-1".
	ID string `json:"id"`
	// Incarnation is the ID, "#" and what tells this life from every other one.
	// A command, which has but one life, may leave it empty: then it is the ID.
	Incarnation string `json:"incarnation"`
}

// ValidName reports whether s may name a node, a message type, a method, a queue
// or a task: 1 to 200 letters, digits and any of ". _ : -".
func ValidName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= 200
}

// NodeOf returns the node id in an incarnation.
func NodeOf(incarnation string) string {
	if i := strings.LastIndexByte(incarnation, '#'); i >= 0 {
		return incarnation[:i]
	}
	return incarnation
}

func (i Identity) validate() error {
	if !ValidName(i.ID) {
		return fmt.Errorf("node id %q: use 1 to 200 letters, digits and . _ : -", i.ID)
	}
	if i.Incarnation == i.ID {
		return nil
	}
	if life, ok := strings.CutPrefix(i.Incarnation, i.ID+"#"); !ok || !ValidName(life) {
		return errors.New("incarnation must be the node's id, \"#\" and a nonce")
	}
	return nil
}
