package redistest

import (
	"os"
	"path/filepath"
)

// FailSaves makes the server unable to save its data: there is a directory
// where the file has to go.
func (s *Server) FailSaves() error {
	return os.MkdirAll(filepath.Join(s.dir, "dump.rdb", "full"), 0o700)
}

// AllowSaves undoes [Server.FailSaves].
func (s *Server) AllowSaves() error { return os.RemoveAll(filepath.Join(s.dir, "dump.rdb")) }
