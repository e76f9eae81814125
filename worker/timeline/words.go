package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/membership"
)

// Words says what happened, in a line for people. It may have texts of others in it, with whatever
// characters these have.
func (e Event) Words() string {
	text := e.what()
	if e.Count > 1 && e.Kind != Join && e.Kind != Leave && e.Kind != Restart {
		text += fmt.Sprintf(" (%d times", e.Count)
		if !e.Until.IsZero() {
			text += " in " + e.Until.Sub(e.At).Round(time.Second).String()
		}
		text += ")"
	}
	return text
}

func (e Event) what() string {
	took := (time.Duration(e.Took) * time.Millisecond).String()
	switch e.Kind {
	case Join:
		return e.nodes() + e.plural(" runs", " run")
	case Leave:
		return e.nodes() + e.plural(" has", " have") + " left"
	case Restart:
		return detailed(e.nodes()+e.plural(" starts", " start")+" again", e.Text)
	case Crash:
		return detailed(e.nodes()+" crashed", e.Text)
	case LeaseLost:
		return detailed(e.nodes()+" lost "+e.plural("its lease", "their leases"), e.Text)
	case TakeOver:
		return e.takenOver(took)
	case Quarantine:
		return fmt.Sprintf("%s %s of queue %s dead after too many crashes", link.Count(e.Tasks, "task"), e.Text, e.Queue)
	case Scale, Deploy, Mark, Flapping, Died, Lost:
		return e.Text
	case Roll, Reload, Upgrade:
		return fmt.Sprintf("%s of %s in %s", e.Kind, e.Text, took)
	case Quiet:
		return "the set claims no more tasks"
	case Pause, Resume, Limit, Delete, Cancel, Retry:
		return e.operated()
	case Redis:
		if e.Took > 0 {
			return fmt.Sprintf("Redis %s, for %s", e.Text, took)
		}
		return "Redis " + e.Text
	case Refused:
		return link.Count(e.Count, "message") + " dropped: " + e.Text
	}
	return detailed(string(e.Kind), e.Text)
}

// takenOver says whose tasks others have taken over.
func (e Event) takenOver(took string) string {
	text := fmt.Sprintf("%s taken over from %s (%s) in %s", link.Count(e.Tasks, "task"), e.nodes(), e.Text, took)
	if e.Quarantined > 0 {
		text += fmt.Sprintf(", %d quarantined", e.Quarantined)
	}
	return text
}

// operated says what an operator did to queues and tasks.
func (e Event) operated() string {
	var parts []string
	if e.Queue != "" {
		parts = append(parts, "queue "+e.Queue)
	}
	if e.Text != "" {
		parts = append(parts, e.Text)
	}
	if e.Tasks > 0 {
		parts = append(parts, link.Count(e.Tasks, "task"))
	}
	if len(parts) == 0 {
		return "the set claims tasks again"
	}
	return strings.Join(parts, ", ")
}

func detailed(what, text string) string {
	if text == "" {
		return what
	}
	return what + ": " + text
}

// nodes names the nodes.
func (e Event) nodes() string {
	ids := slices.SortedFunc(slices.Values(e.Nodes), membership.CompareIDs)
	return cmp.Or(membership.Spans(ids), "a node")
}

func (e Event) plural(one, more string) string {
	if len(e.Nodes) > 1 {
		return more
	}
	return one
}
