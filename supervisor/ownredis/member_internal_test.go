//go:build unix

package ownredis

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// owned returns the place of a directory that has an owner of that number, and no server, and the owner's lock.
func owned(t *testing.T, number string) (place, *os.File) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o700))
	at := place{dir: dir, sockets: dir}
	require.NoError(t, at.writeState(state{Sockets: dir}))
	owner, err := lock(at.file(ownerLock), exclusive)
	require.NoError(t, err)
	require.NoError(t, note(owner, number))
	return at, owner
}

func TestAMemberWhoseOwnerIsGoneDoesNotKeepMembersOfTheNextOneOut(t *testing.T) {
	t.Parallel()
	at, first := owned(t, "111")
	member, err := Join(t.Context(), at.dir, zerolog.Nop())
	require.NoError(t, err)
	require.NoError(t, first.Close())
	next, err := own(t.Context(), at)
	require.NoError(t, err)
	defer next.Close()
	left := make(chan error, 1)
	began := time.Now()
	go func() { left <- member.Leave(context.Background(), true) }()
	for range 100 {
		m, err := Join(t.Context(), at.dir, zerolog.Nop())
		require.NoError(t, err)
		require.NoError(t, m.Leave(t.Context(), false))
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, <-left)
	require.Less(t, time.Since(began), lateLock, "it sees that there is another owner")
}

// Members and an owner that end at the same time: one of them, and only one, stops the server.
func TestOneOfThoseThatLeaveAtTheSameTimeIsTheLast(t *testing.T) {
	t.Parallel()
	at, owner := owned(t, "111")
	for round := range 200 {
		var all sync.WaitGroup
		members := make([]*os.File, 3)
		for i := range members {
			var err error
			members[i], err = lockPatiently(t.Context(), at.file(usersLock), shared)
			require.NoError(t, err)
		}
		var took []*locks
		var mu sync.Mutex
		for i, held := range slices.Concat(members, []*os.File{owner}) {
			all.Go(func() {
				if i == len(members) {
					_ = note(held, strconv.Itoa(os.Getpid())+" "+leaving)
				}
				_ = held.Close()
				if both, err := at.lockAsLast(context.Background(), "111"); err == nil && both != nil {
					mu.Lock()
					took = append(took, both)
					mu.Unlock()
					_ = note(both.owner, "222")
				}
			})
		}
		all.Wait()
		require.Len(t, took, 1, "round %d", round)
		took[0].close()
		var err error
		owner, err = lockPatiently(t.Context(), at.file(ownerLock), exclusive)
		require.NoError(t, err)
		require.NoError(t, note(owner, "111"))
	}
	require.NoError(t, owner.Close())
}
