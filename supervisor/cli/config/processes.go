package config

import (
	"runtime"

	"github.com/stellarfw/stellar/supervisor/guard"
)

// checkProcesses returns an error if the nodes cannot run in child processes. shared says that
// there is a Redis which several processes can reach.
func (s *Settings) checkProcesses(shared bool) error {
	switch {
	case s.Processes <= 0 && s.MaxMemory() > 0:
		return s.Problemf("max-memory", "it is for child processes, and there are none: give --processes, such as --processes 1")
	case s.Processes <= 0:
		return nil
	case !guard.Supported:
		return s.Problemf("processes", "there are no child processes on %s: leave it out", runtime.GOOS)
	case s.MaxMemory() > 0 && !guard.Measures:
		return s.Problemf("max-memory", "the memory of processes is not measured on %s: leave it out", runtime.GOOS)
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

// leastMemory is the least value of --max-memory, in bytes: a program without tasks needs as much.
const leastMemory = 32 << 20

func (s *Settings) parseMaxMemory() (int64, error) {
	if s.maxMemory == "" {
		return 0, nil
	}
	return ParseSize(s.maxMemory)
}

// MaxMemory returns how many bytes of memory a child process may need; 0 for no limit.
func (s *Settings) MaxMemory() int64 {
	most, _ := s.parseMaxMemory() // Check has reported the error
	return most
}

// LeaveToGuardian takes out what is the guardian's, and not that of its children: the pidfile and
// the address of the health pages, whose requests the guardian hands over.
func (s *Settings) LeaveToGuardian() { s.guarded, s.PIDFile = true, "" }
