package guard

import (
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
)

// Report sums up the lives of all nodes of all children that have ended.
type Report struct {
	supervisor.Report // of a child that died: as it was in the last second of its life

	Processes int // lives of child processes
	Deaths    int // of them ended by a crash of the process
}

// String returns the report in one line.
func (r Report) String() string {
	return fmt.Sprintf("%s; %s, %s", r.Report, link.Count(r.Processes, "life of processes", "lives of processes"),
		link.Count(r.Deaths, "death"))
}

// plus returns the sums of two reports.
func plus(a, b supervisor.Report) supervisor.Report {
	a.Lives += b.Lives
	a.Crashes += b.Crashes
	a.Started += b.Started
	a.Done += b.Done
	a.HandedOn += b.HandedOn
	a.Quarantined += b.Quarantined
	return a
}
