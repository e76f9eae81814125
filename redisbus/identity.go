package redisbus

import (
	"errors"
	"strings"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Identity is the sender of messages: one incarnation of a node, or a command that
// talks to the cluster.
type Identity struct {
	// ID is the serverId of the messages and names the inbox, such as "stellar-worker-1".
	ID string `json:"id"`
	// Incarnation is the ID, "#" and a text that differs between incarnations.
	// Empty means the ID itself: a command has only one incarnation.
	Incarnation string `json:"incarnation"`
}

func (i Identity) validate() error {
	if err := link.CheckName("node id", i.ID); err != nil {
		return err
	}
	if i.Incarnation == i.ID {
		return nil
	}
	if life, ok := strings.CutPrefix(i.Incarnation, i.ID+"#"); !ok || !link.ValidName(life) {
		return errors.New("incarnation must be the node's id, \"#\" and a nonce")
	}
	return nil
}
