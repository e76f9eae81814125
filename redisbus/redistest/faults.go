package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// FailSaves makes the server unable to save its data, by a directory in the place of its
// file.
func (s *Server) FailSaves() error {
	return os.MkdirAll(filepath.Join(s.dir, "dump.rdb", "full"), 0o700)
}

// AllowSaves undoes [Server.FailSaves].
func (s *Server) AllowSaves() error { return os.RemoveAll(filepath.Join(s.dir, "dump.rdb")) }

// RunLoading starts the process again after [Server.Kill] and returns while the server
// loads its saved data. Loading takes 5 ms for each key, until the command "config set
// key-load-delay 0".
func (s *Server) RunLoading() error {
	said, err := s.begin("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
	if err != nil {
		return err
	}
	c := redis.NewClient(s.options())
	defer func() { _ = c.Close() }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		err := c.Ping(context.Background()).Err()
		if redis.HasErrorPrefix(err, "LOADING") {
			return nil
		}
		if err == nil {
			return errors.New("redis-server has loaded its data already: give it more keys")
		}
	}
	s.Kill()
	return fmt.Errorf("redis-server did not begin to load within %s: %s", patience, said)
}

// Sleep makes the server do nothing for d, and returns after that time.
func (s *Server) Sleep(d time.Duration) error {
	o := s.options()
	o.ReadTimeout = d + patience
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	return c.Do(context.Background(), "debug", "sleep", d.Seconds()).Err()
}
