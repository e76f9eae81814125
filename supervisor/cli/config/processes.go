package config

import (
	"runtime"

	"github.com/stellarfw/stellar/supervisor/guard"
)

// checkProcesses returns an error if the nodes cannot run in child processes. shared says that
// there is a Redis which several processes can reach.
func (s *Settings) checkProcesses(shared bool) error {
	switch {
	case s.Processes <= 0:
		return nil
	case !guard.Supported:
		return s.Problemf("processes", "there are no child processes on %s: leave it out", runtime.GOOS)
	case s.Processes == 1:
		return nil
	case s.id != "":
		return s.Problemf("id", "it can be given to one node only, not to one in each of %d processes: "+
			"use --processes 1, or --workerPrefix", s.Processes)
	case !shared:
		return s.Problemf("processes", "%d processes need a Redis that all of them can reach, and there is none: "+
			"set REDIS_URL or REDIS_HOST, or --data", s.Processes)
	default:
		return nil
	}
}

// LeaveToGuardian takes out what is the guardian's, and not that of its children: the pidfile and
// the health pages.
func (s *Settings) LeaveToGuardian() { s.guarded, s.PIDFile, s.adminAddr = true, "", "" }
