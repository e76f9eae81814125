//go:build unix

package guard

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// pipes returns the two ends of a connection.
func pipes(t *testing.T) (guardian, child *pipe) {
	t.Helper()
	ours, theirs, err := socketPair()
	require.NoError(t, err)
	guardian, err = newPipe(ours)
	require.NoError(t, err)
	child, err = newPipe(theirs)
	require.NoError(t, err)
	t.Cleanup(guardian.close)
	t.Cleanup(child.close)
	return guardian, child
}

func TestMessagesCarryTheirVersion(t *testing.T) {
	t.Parallel()
	guardian, child := pipes(t)
	secrets := map[string]string{"STELLAR_TOKEN": "line\nbreak"}
	require.NoError(t, guardian.write(message{Start: &start{Slot: 3, Launch: "x", Secrets: secrets}}))
	m, err := child.read()
	require.NoError(t, err)
	require.Equal(t, &start{Slot: 3, Launch: "x", Secrets: secrets}, m.Start)

	_, err = child.conn.Write([]byte(`{"v":1,"unheard":true,"abandoned":"a#1:0"}` + "\n" + `{"v":2,"stop":1}` + "\n"))
	require.NoError(t, err)
	m, err = guardian.read()
	require.NoError(t, err, "members that are not known are ignored")
	require.Equal(t, "a#1:0", m.Abandoned)
	_, err = guardian.read()
	require.ErrorIs(t, err, errVersion)

	child.close()
	_, err = guardian.read()
	require.Error(t, err)
}

// A child does not wait for a guardian that does not read.
func TestNobodyWaitsForAnEndThatDoesNotRead(t *testing.T) {
	t.Parallel()
	_, child := pipes(t)
	text := string(make([]byte, maxMessage/8))
	began := time.Now()
	for child.write(message{Abandoned: text}) == nil {
		require.Less(t, time.Since(began), time.Minute)
	}
	began = time.Now()
	for range 100 {
		require.Error(t, child.write(message{Stop: 1}), "a line was cut off")
	}
	require.Less(t, time.Since(began), writeTime, "and it does not wait again")
}

func TestOneNodeMoreIsWhereTheFewestAre(t *testing.T) {
	t.Parallel()
	g := New(Config{Processes: 3})
	for i, n := range []int{2, 1, 3} {
		g.slots[i].status.Workers = n
	}
	require.Equal(t, 1, g.choose(true).number)
	require.Equal(t, 2, g.choose(false).number)
	g.slots[2].retire()
	require.Equal(t, 0, g.choose(false).number)
	ready, want := g.Ready()
	require.Zero(t, ready)
	require.Equal(t, 3, want)
}

// A child that needs too much memory at once after its start would be started again and again.
func TestAChildThatNeedsTooMuchMemorySoonAfterItsStartFlaps(t *testing.T) {
	t.Parallel()
	g := New(Config{Processes: 1, MaxMemory: 100 << 20, Backoff: time.Second})
	g.stop = func() {}
	s := g.slots[0]
	for range 10 {
		require.True(t, s.next(t.Context(), &life{outgrewAfter: longLife}, "exit status 0", longLife))
		require.Zero(t, s.pause, "it starts again at once")
	}
	for range 4 {
		require.True(t, s.next(t.Context(), &life{outgrewAfter: time.Second}, "exit status 0", time.Second))
	}
	require.Greater(t, s.pause, 3*time.Second, "the pauses grow")
	require.False(t, s.next(t.Context(), &life{outgrewAfter: time.Second}, "exit status 0", time.Second))
	require.ErrorIs(t, g.finish(), supervisor.ErrFlapping)
	require.ErrorContains(t, g.finish(), "process 0 5 times, at last: it needed more memory than --max-memory (100 MiB) 1s after its start")
	require.Zero(t, g.Report().Deaths, "none of them died")
}
