package taskscmd

import (
	"context"
	"errors"
	"maps"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
)

// change is what a command did to one of the queues or periodic tasks that it was given.
type change struct {
	members map[string]any // of its object in the JSON output, beside the name
	text    string         // for people
	table   [][]string     // for people, in place of the text
}

// changeEach calls do with one name after the other, and continues after an error. It writes
// what came of each: as JSON it is one list of objects, which have the name as that member.
func changeEach(ctx context.Context, e *cluster.Env, member string, names []string, do func(name string) (change, error)) error {
	results, failed := []map[string]any{}, []error{}
	for _, name := range names {
		c, err := do(name)
		if err != nil {
			failed = append(failed, err)
			c.members = map[string]any{"error": err.Error()}
		} else if !e.JSON() {
			if err := c.write(e); err != nil {
				return err
			}
		}
		result := map[string]any{member: name}
		maps.Copy(result, c.members)
		results = append(results, result)
		if ctx.Err() != nil {
			break
		}
	}
	if e.JSON() {
		failed = append(failed, e.WriteJSON(results))
	}
	return errors.Join(failed...)
}

func (c change) write(e *cluster.Env) error {
	if c.table != nil {
		return e.WriteTable(c.table)
	}
	return e.WriteLine(c.text)
}
