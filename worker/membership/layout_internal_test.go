package membership

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// program is a version of the program, with the layouts that it speaks.
type program struct {
	Directory
	keeper *Keeper
}

func programOf(t *testing.T, cfg link.Config, speaks layouts) program {
	d := Directory{Client: redistest.Client(t, cfg), Keys: cfg.Keys(), testLayouts: speaks}
	return program{d, NewKeeper(d, Times{}, zerolog.Nop())}
}

func (p program) join(t *testing.T) *Lease {
	t.Helper()
	l, err := p.keeper.Join(t.Context(), JoinRequest{Prefix: "w", Process: Process{Host: "h", PID: 1, Version: "v1.2.3"}})
	require.NoError(t, err)
	t.Cleanup(l.Release)
	return l
}

// refused checks that a node may not begin and not join, and returns why.
func (p program) refused(t *testing.T) *link.LayoutError {
	t.Helper()
	_, joined := p.keeper.Join(t.Context(), JoinRequest{Prefix: "w"})
	require.ErrorIs(t, joined, link.ErrLayout)
	err := p.AdmitNode(t.Context())
	require.ErrorIs(t, err, link.ErrLayout)
	require.Equal(t, link.Ran, link.OutcomeOf(err), "trying again does not help")
	refusal, _ := errors.AsType[*link.LayoutError](err)
	require.ErrorContains(t, joined, refusal.Error())
	return refusal
}

// leave ends a node's life.
func (p program) leave(t *testing.T, l *Lease) {
	t.Helper()
	l.Release()
	_, err := p.Condemn(t.Context(), l.Incarnation, false, time.Minute)
	require.NoError(t, err)
	_, err = p.Leave(t.Context(), l.Incarnation)
	require.NoError(t, err)
}

// forgetLayout makes the namespace and its members what programs from before there
// were layouts leave.
func (p program) forgetLayout(t *testing.T) {
	t.Helper()
	require.NoError(t, p.Client.Del(t.Context(), p.Keys.Layout()).Err())
	for id, record := range p.Client.HGetAll(t.Context(), p.Keys.Members()).Val() {
		lines := strings.SplitN(record, "\n", 4)
		require.Contains(t, lines[3], `"layout":1`)
		lines[3] = `{"host":"h","pid":1}`
		require.NoError(t, p.Client.HSet(t.Context(), p.Keys.Members(), id, strings.Join(lines, "\n")).Err())
	}
}

func layoutOn(t *testing.T, p program) string {
	t.Helper()
	text, err := p.Client.Get(t.Context(), p.Keys.Layout()).Result()
	if errors.Is(err, redis.Nil) {
		return ""
	}
	require.NoError(t, err)
	return text
}

func TestANamespaceGetsTheLayoutOfItsFirstNode(t *testing.T) {
	redistest.EachAndCluster(t, func(t *testing.T, cfg link.Config) {
		p := programOf(t, cfg, layouts{2, 3})
		require.NoError(t, p.AdmitNode(t.Context()))
		require.Empty(t, layoutOn(t, p), "who looks writes nothing")
		p.join(t)
		require.Equal(t, "3", layoutOn(t, p))
		members, err := p.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, Process{Host: "h", PID: 1, Version: "v1.2.3", Layout: 3, Lease: DefaultLease.Milliseconds()}, members[0].Process)
	})
}

func TestANamespaceWithoutALayoutHasTheFirst(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		one, three := programOf(t, cfg, layouts{1, 1}), programOf(t, cfg, layouts{3, 3})
		l := one.join(t)
		one.forgetLayout(t)
		members, err := one.List(t.Context())
		require.NoError(t, err)
		require.Zero(t, members[0].Process.Layout)
		require.NoError(t, one.AdmitClient(t.Context()))
		require.NoError(t, one.AdmitNode(t.Context()))
		one.join(t)
		require.Equal(t, "1", layoutOn(t, one), "it works and gets one")

		one.leave(t, l)
		require.NoError(t, one.Client.Del(t.Context(), one.Keys.Layout()).Err())
		require.EqualError(t, three.refused(t), `the namespace "stellar" on Redis has layout 1, this program takes over layouts from 3 on: `+
			`first run a version in between, which raises it, or use another namespace`)
	})
}

func TestANewerLayoutIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		old, recent := programOf(t, cfg, layouts{1, 1}), programOf(t, cfg, layouts{1, 2})
		recent.leave(t, recent.join(t))
		require.EqualError(t, old.refused(t), `the namespace "stellar" on Redis has layout 2, this program knows layouts up to 1: `+
			`run a newer version of it, or use another namespace`)
		require.ErrorIs(t, old.AdmitClient(t.Context()), link.ErrLayout)
		require.NoError(t, recent.AdmitClient(t.Context()))
	})
}

func TestALayoutIsRaisedWhenNoOlderNodeLives(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		old, recent := programOf(t, cfg, layouts{1, 1}), programOf(t, cfg, layouts{1, 2})
		first, second := old.join(t), old.join(t)
		old.forgetLayout(t)
		require.ElementsMatch(t, []string{"w-1", "w-2"}, recent.refused(t).Older)
		old.leave(t, first)
		require.EqualError(t, recent.refused(t), `the namespace "stellar" on Redis has layout 1, this program would raise it to 2 `+
			`while nodes of an older version live (w-2): stop them first, or run their version`)
		require.EqualError(t, recent.AdmitClient(t.Context()), `layout on Redis: the namespace "stellar" on Redis has layout 1, this program writes layout 2: `+
			`start a node of this version first, which raises it, or use a program of the older version`)
		require.NoError(t, old.AdmitClient(t.Context()))

		second.Release() // it died: its lease is condemned, its id still taken
		_, err := old.Condemn(t.Context(), second.Incarnation, false, time.Minute)
		require.NoError(t, err)
		require.NoError(t, recent.AdmitNode(t.Context()))
		require.Empty(t, layoutOn(t, recent), "only a join raises it")
		recent.join(t)
		require.Equal(t, "2", layoutOn(t, recent))
		require.ErrorIs(t, old.refused(t), link.ErrLayout)
	})
}

func TestAClientNotesTheLayoutOfANamespaceThatNobodyUsed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		one, two := programOf(t, cfg, layouts{1, 1}), programOf(t, cfg, layouts{1, 2})
		require.NoError(t, one.AdmitClient(t.Context()))
		require.Empty(t, layoutOn(t, one), "none is as good as 1")
		require.NoError(t, two.AdmitClient(t.Context()))
		require.Equal(t, "2", layoutOn(t, one))
		require.ErrorIs(t, one.refused(t), link.ErrLayout)
	})
}

func TestALayoutThatIsSomethingElseIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		p := programOf(t, cfg, layouts{})
		sets := []func() error{func() error { return p.Client.HSet(t.Context(), p.Keys.Layout(), "a", "b").Err() }}
		for _, text := range []string{"blue", "", "1.5", "-3", "nan", "inf", "1e400", "0x1", " 1", "1\n", strings.Repeat("9", 400)} {
			sets = append(sets, func() error { return p.Client.Set(t.Context(), p.Keys.Layout(), text, 0).Err() })
		}
		for _, set := range sets {
			require.NoError(t, p.Client.Del(t.Context(), p.Keys.Layout()).Err())
			require.NoError(t, set())
			_, err := p.keeper.Join(t.Context(), JoinRequest{Prefix: "w"})
			wrong, ok := errors.AsType[*link.WrongTypeError](err)
			require.True(t, ok, err)
			require.Equal(t, p.Keys.Layout(), wrong.Key)
			require.Error(t, p.AdmitClient(t.Context()))
		}
	})
}
