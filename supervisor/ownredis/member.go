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
	place  place
	users  *os.File // the lock, which all members share
	owner  string   // the number of the owner's process
	joined state    // of the server at that time
	log    zerolog.Logger
}

// Join makes this process a member of the server on the directory: the server stays until its owner
// closes it and, if the owner was killed, until its last member leaves. The caller calls
// [Member.Leave] at the end.
func Join(ctx context.Context, dir string, log zerolog.Logger) (*Member, error) {
	at, st, err := find(dir)
	if err != nil {
		return nil, err
	}
	users, err := lockPatiently(ctx, at.file(usersLock), shared)
	if errors.Is(err, errLocked) {
		return nil, as(ErrNotRunning, fmt.Errorf("data directory %s: its server is about to end", at.dir))
	}
	if err != nil {
		return nil, err
	}
	owner, _ := at.ownerNote()
	return &Member{place: at, users: users, owner: owner, joined: st, log: log}, nil
}

// Redis returns the configuration to connect to the server.
func (m *Member) Redis() link.Config { return m.place.redis() }

// Leave ends the membership. If the owner was killed and no other member is left, it has the server
// save its data and end; the error says that it did not by the end of ctx. orphaned says that the owner
// is known to be dead: the kernel may let go its lock a moment later than the other things by which that is seen.
func (m *Member) Leave(ctx context.Context, orphaned bool) error {
	held, err := m.leave(ctx, orphaned)
	if held == nil {
		return err
	}
	defer held.close()
	c := watch(ctx, m.place, m.server(), m.place.socket())
	defer c.forget()
	if !c.lives() {
		return nil
	}
	m.log.Info().Str("data", m.place.dir).Msg("the owner of the redis-server is gone and nobody else uses it: it saves its data and ends")
	if err := note(held.owner, fmt.Sprintf("%d %s", os.Getpid(), leaving)); err != nil {
		m.log.Warn().Err(err).Msg("the file of the lock")
	}
	return m.place.shutdown(ctx, c)
}

// Abandon is Leave for a process that ends at once: it does not wait until the server has ended.
func (m *Member) Abandon(orphaned bool) {
	ctx, cancel := context.WithTimeout(context.Background(), killTime) //nolint:forbidigo // whatever has ended before
	defer cancel()
	if held, err := m.leave(ctx, orphaned); err == nil && held != nil {
		if st := m.server(); st.lives() {
			_ = terminate(st.PID)
		}
		held.close()
	}
}

// server returns the state of the server: another one may have been started since the process has joined, and
// the files may have been removed since.
func (m *Member) server() state {
	if st, err := m.place.readState(); err == nil && st.PID > 1 {
		return st
	}
	return m.joined
}

// leave ends the membership. It returns the locks if the caller has to stop the server.
func (m *Member) leave(ctx context.Context, orphaned bool) (*locks, error) {
	if err := m.users.Close(); err != nil {
		return nil, err
	}
	dead := ""
	if orphaned {
		dead = m.owner
	}
	return m.place.lockAsLast(ctx, dead)
}

// lateLock is how long the lock of an owner that ends, or is dead, is waited for.
const lateLock = 5 * time.Second

// locks are those of the owner and of the members.
type locks struct{ owner, users *os.File }

// close lets go first the lock that keeps members out: when there is a new owner, nothing does.
func (l *locks) close() {
	_ = l.users.Close()
	_ = l.owner.Close()
}

// lockAsLast takes both locks if nobody has one of them, neither an owner nor members: then it is the caller that
// has to stop the server. Otherwise it returns nil. The caller has released its own lock before, so that the last of
// those that leave at the same time finds nobody. dead is the number of the owner that is known to be dead; "" for none.
//
// The owner's lock is the first of the two, so that nobody keeps out the members of a new owner. Who takes
// it to look has it for a moment only, for which a new owner waits.
func (p place) lockAsLast(ctx context.Context, dead string) (*locks, error) {
	for deadline := time.Now().Add(lateLock); ; pause(ctx, look) {
		owner, err := lock(p.file(ownerLock), exclusive)
		if err == nil {
			users, err := lock(p.file(usersLock), exclusive)
			if err != nil {
				return nil, errors.Join(ignoreLocked(err), owner.Close())
			}
			return &locks{owner, users}, nil
		}
		pid, phase := p.ownerNote()
		ends := pid == dead || phase == leaving // or somebody looks as this process does
		if !errors.Is(err, errLocked) || !ends || ctx.Err() != nil || time.Now().After(deadline) {
			return nil, ignoreLocked(err)
		}
	}
}

func ignoreLocked(err error) error {
	if errors.Is(err, errLocked) {
		return nil
	}
	return err
}

// Find returns the configuration to connect to the server that runs on the directory. The error is
// [ErrNotRunning] or [ErrDir].
func Find(ctx context.Context, dir string) (link.Config, error) {
	at, _, err := find(dir)
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

// find returns the place of a directory on which a server was started, and the state of that.
func find(dir string) (at place, st state, err error) {
	if err := supported(); err != nil {
		return at, st, err
	}
	if at, err = existing(dir); err != nil {
		return at, st, err
	}
	st, err = at.readState()
	if err != nil || st.Sockets == "" {
		return at, st, as(ErrNotRunning, fmt.Errorf("data directory %s: no server runs on it", at.dir))
	}
	at.sockets = st.Sockets
	return at, st, nil
}
