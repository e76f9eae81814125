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

// add adds the report of a child's life.
func (r *Report) add(of supervisor.Report) {
	r.Lives += of.Lives
	r.Crashes += of.Crashes
	r.Started += of.Started
	r.Done += of.Done
	r.HandedOn += of.HandedOn
	r.Quarantined += of.Quarantined
}
