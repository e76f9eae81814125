//go:build unix

package guard

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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
	hidden := secrets{"STELLAR_TOKEN": "line\nbreak", "REDIS_PASS": "p\xe4ss"}
	require.NoError(t, guardian.write(message{Start: &start{Slot: 3, Launch: "x", Secrets: hidden}}))
	m, err := child.read()
	require.NoError(t, err)
	require.Equal(t, &start{Slot: 3, Launch: "x", Secrets: hidden}, m.Start, "also what is no UTF-8")

	_, err = child.conn.Write([]byte(`{"v":1,"unheard":true,"abandoned":"a#1:0"}` + "\n" + `{"v":2,"stop":1}` + "\n"))
	require.NoError(t, err)
	m, err = guardian.read()
	require.NoError(t, err, "members that are not known are ignored")
	require.Equal(t, "a#1:0", m.Abandoned)
	_, err = guardian.read()
	require.ErrorIs(t, err, errVersion)

	require.False(t, ended(err))

	child.close()
	_, err = guardian.read()
	require.True(t, ended(err))
	guardian.close()
	_, err = guardian.read()
	require.True(t, ended(err))
}

func TestNoMessageIsTooLongForTheOtherEnd(t *testing.T) {
	t.Parallel()
	guardian, child := pipes(t)
	require.ErrorIs(t, guardian.write(message{Start: &start{Secrets: secrets{"KEY": string(make([]byte, maxMessage))}}}), errLong)

	ids := make([]string, 6000)
	for i := range ids {
		ids[i] = strings.Repeat("\"", 200)
	}
	e := End{Code: codeDrainDeadline, Error: strings.Repeat("\"", maxMessage), Report: supervisor.Report{Running: ids, Unsettled: ids, Done: 7}}
	var told sync.WaitGroup
	told.Go(func() { (&Child{pipe: child}).End(e) })
	m, err := guardian.read()
	require.NoError(t, err)
	told.Wait()
	require.Equal(t, codeDrainDeadline, m.End.Code)
	require.EqualValues(t, 7, m.End.Report.Done)
	require.Len(t, m.End.Report.Running, mostNames+1)
	require.Equal(t, "and 5000 more", m.End.Report.Running[mostNames])
	require.Len(t, e.Report.Running, 6000)
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
		require.True(t, s.next(t.Context(), &life{outgrewAfter: g.cfg.LongLife, end: &End{}}, "exit status 0", g.cfg.LongLife))
		require.Zero(t, s.pause, "it starts again at once")
	}
	for range 4 {
		require.True(t, s.next(t.Context(), &life{outgrewAfter: time.Second, end: &End{}}, "exit status 0", time.Second))
	}
	require.Greater(t, s.pause, 3*time.Second, "the pauses grow")
	require.False(t, s.next(t.Context(), &life{outgrewAfter: time.Second, end: &End{}}, "exit status 0", time.Second))
	require.ErrorIs(t, g.finish(), supervisor.ErrFlapping)
	require.ErrorContains(t, g.finish(), "process 0 5 times, at last: it needed more memory than --max-memory (100 MiB) 1s after its start")
	require.Zero(t, g.Report().Deaths, "none of them died")
}

// settled returns a dead life whose tasks, if any, have been handed over.
func settled(tasks bool) *life {
	l := &life{hadTasks: tasks}
	over := make(chan struct{})
	close(over)
	l.settled = over
	return l
}

func TestTasksThatEndTheirProcessDoNotEndTheOthers(t *testing.T) {
	t.Parallel()
	g := New(Config{Processes: 2})
	g.stop = func() {}
	for i := range 30 { // ten such tasks
		require.True(t, g.slots[i%2].next(t.Context(), settled(true), "signal: killed", time.Second))
	}
	require.NoError(t, g.finish())
	require.Equal(t, 30, g.Report().Deaths)
	for range 4 {
		require.True(t, g.slots[0].next(t.Context(), settled(false), "exit status 2", time.Second))
	}
	require.False(t, g.slots[0].next(t.Context(), settled(false), "exit status 2", time.Second))
	require.ErrorIs(t, g.finish(), supervisor.ErrFlapping)
}

func TestWhatKeepsOneChildFromStartingDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	wrong := func(code int) *life {
		l := settled(false)
		l.end = &End{Code: code, Error: "workers: not a number"}
		return l
	}
	for _, code := range []int{codeUsage, codeConfig} {
		g := New(Config{Processes: 2})
		g.stop = func() {}
		g.worked = true
		for range 20 {
			require.True(t, g.slots[0].notStarted(t.Context(), errors.New("resource temporarily unavailable")))
			require.True(t, g.slots[0].next(t.Context(), wrong(code), "exit status", time.Second))
		}
		require.Greater(t, g.slots[0].pause, 10*time.Second, "the pauses grow")
		require.NoError(t, g.finish())
		require.Zero(t, g.Report().Deaths)
	}

	g := New(Config{Processes: 2}) // nothing has ever worked
	g.stop = func() {}
	for range 4 {
		require.True(t, g.slots[0].notStarted(t.Context(), errors.New("no such file")))
	}
	require.False(t, g.slots[0].notStarted(t.Context(), errors.New("no such file")))
	require.ErrorIs(t, g.finish(), supervisor.ErrFlapping)
	g = New(Config{Processes: 2})
	g.stop = func() {}
	require.False(t, g.slots[0].next(t.Context(), wrong(codeConfig), "exit status 78", time.Second))
	require.ErrorContains(t, g.finish(), "workers: not a number")
}

func TestSilenceCountsFromTheFirstStatusOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Processes: 1})
		s := g.slots[0]
		l := &life{slot: s, exited: make(chan struct{}), leave: make(chan struct{}), heard: make(chan struct{}, 1)}
		s.life = l
		var ended sync.WaitGroup
		ended.Go(func() { l.await(t.Context()) })
		time.Sleep(time.Hour) // its App loads something; it would be killed, which panics here

		s.hear(l, Status{Ready: 2, Workers: 2, Healthy: true, Redis: true})
		l.heard <- struct{}{}
		time.Sleep(doubt - time.Second)
		require.True(t, g.Status().Healthy)
		time.Sleep(3 * time.Second)
		require.False(t, g.Status().Healthy, "it may be stopped")
		require.Zero(t, g.Status().Ready)
		s.hear(l, Status{Ready: 2, Workers: 2, Healthy: true, Redis: true})
		require.True(t, g.Status().Healthy)
		close(l.exited)
		ended.Wait()
	})
}
