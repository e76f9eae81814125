package redisbus

import (
	"errors"
	"fmt"
	"github.com/stellarfw/stellar/redisbus/link"
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

func (i Identity) validate() error {
	if !link.ValidName(i.ID) {
		return fmt.Errorf("node id %q: use 1 to 200 letters, digits and . _ : -", i.ID)
	}
	if i.Incarnation == i.ID {
		return nil
	}
	if life, ok := strings.CutPrefix(i.Incarnation, i.ID+"#"); !ok || !link.ValidName(life) {
		return errors.New("incarnation must be the node's id, \"#\" and a nonce")
	}
	return nil
}
