package worker

import (
	"github.com/stellarfw/stellar/worker/internal/history"
	"github.com/stellarfw/stellar/worker/tasks"
)

// charting is the observer that counts runs for the history of the namespace (see tasks.Inspector.History).
type charting struct {
	Unobserved

	to *history.Collector
}

// RunEnded implements tasks.Observer.
func (c charting) RunEnded(end tasks.RunEnd) {
	c.to.Add(history.Run{
		Name: end.Name, Queue: end.Queue, Outcome: string(end.Outcome), First: end.Attempt == 1 && end.Crashes == 0,
		Waited: end.Waited, Ran: end.Ran,
	})
}
