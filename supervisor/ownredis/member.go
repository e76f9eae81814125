package ownredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Member is the part that a process has in a server whose owner is another process, its parent.
type Member struct {
	place place
	users *os.File // the lock, which all members share
	log   zerolog.Logger
}

// Join makes this process a member of the server on the directory: the server stays until its owner
// closes it and, if the owner was killed, until its last member leaves. The caller calls
// [Member.Leave] at the end.
func Join(dir string, log zerolog.Logger) (*Member, error) {
	at, err := find(dir)
	if err != nil {
		return nil, err
	}
	users, err := lock(at.file(usersLock), shared)
	if errors.Is(err, errLocked) {
		return nil, as(ErrNotRunning, fmt.Errorf("data directory %s: its server is about to end", at.dir))
	}
	if err != nil {
		return nil, err
	}
	return &Member{place: at, users: users, log: log}, nil
}

// Redis returns the configuration to connect to the server.
func (m *Member) Redis() link.Config { return m.place.redis() }

// Leave ends the membership. If the owner was killed and no other member is left, it has the server
// save its data and end; the error says that it did not by the end of ctx. orphaned says that the owner is known to
// be dead: the kernel may let go its lock a moment later than the other things by which that is seen.
func (m *Member) Leave(ctx context.Context, orphaned bool) error {
	if err := m.users.Close(); err != nil {
		return err
	}
	users, err := lock(m.place.file(usersLock), exclusive)
	if err != nil { // of those that leave at the same time one sees that it is the last
		return ignoreLocked(err)
	}
	defer users.Close()
	owner, err := lock(m.place.file(ownerLock), exclusive)
	for began := time.Now(); orphaned && errors.Is(err, errLocked) && time.Since(began) < lateLock && link.Sleep(ctx, lockPause) == nil; {
		owner, err = lock(m.place.file(ownerLock), exclusive)
	}
	if err != nil {
		return ignoreLocked(err)
	}
	defer owner.Close()
	if !m.place.running() {
		return nil
	}
	m.log.Info().Str("data", m.place.dir).Msg("the owner of the redis-server is gone and nobody else uses it: it saves its data and ends")
	if err := note(owner, fmt.Sprintf("%d %s", os.Getpid(), leaving)); err != nil {
		m.log.Warn().Err(err).Msg("the file of the lock")
	}
	return m.place.shutdown(ctx)
}

// How long a dead owner's lock is waited for, and how long between two looks.
const (
	lateLock  = 5 * time.Second
	lockPause = 10 * time.Millisecond
)

func ignoreLocked(err error) error {
	if errors.Is(err, errLocked) {
		return nil
	}
	return err
}

// Find returns the configuration to connect to the server that runs on the directory. The error is
// [ErrNotRunning] or [ErrDir].
func Find(ctx context.Context, dir string) (link.Config, error) {
	at, err := find(dir)
	if err != nil {
		return link.Config{}, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", at.socket())
	if err != nil && !at.running() {
		return link.Config{}, as(ErrNotRunning, fmt.Errorf("data directory %s: no server runs on it", at.dir))
	}
	if err == nil {
		_ = conn.Close()
	}
	return at.redis(), nil // a server that is just started again is waited for
}

// find returns the place of a directory on which a server was started.
func find(dir string) (place, error) {
	if err := supported(); err != nil {
		return place{}, err
	}
	at, err := existing(dir)
	if err != nil {
		return place{}, err
	}
	st, err := at.readState()
	if err != nil || st.Sockets == "" {
		return place{}, as(ErrNotRunning, fmt.Errorf("data directory %s: no server runs on it", at.dir))
	}
	at.sockets = st.Sockets
	return at, nil
}
