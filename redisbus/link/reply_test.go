package link_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// caller runs a script's text.
func caller(t *testing.T, cfg link.Config) func(text string, args ...any) (link.Reply, error) {
	c := redistest.Client(t, cfg)
	return func(text string, args ...any) (link.Reply, error) {
		return link.NewScript(link.LuaPrelude, text).Call(t.Context(), c, []string{cfg.Keys().Epoch()}, args...)
	}
}

func TestCallHandsOutFields(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		call := caller(t, cfg)
		var text string
		var short int
		var long int64
		var yes, no bool
		var list []string

		r, err := call(`return {'OK', 'a', 7, int(9007199254740993), 1, '', {'x', 'y'}}`)
		require.NoError(t, err)
		require.NoError(t, r.Scan(&text, &short, &long, &yes, &no, &list))
		require.Equal(t, "a", text)
		require.Equal(t, 7, short)
		require.Equal(t, int64(9007199254740992), long, "as exact as Lua's numbers")
		require.True(t, yes)
		require.False(t, no)
		require.Equal(t, []string{"x", "y"}, list)
		require.NoError(t, r.From(1).Row(0).Scan(&short))
		require.Equal(t, 7, short)
		require.Zero(t, r.From(9).Len())

		r, err = call(`return {'OK', false, {'k', 3}}`)
		require.NoError(t, err)
		require.True(t, r.Row(0).IsNil())
		require.NoError(t, r.Row(1).Scan(&text, &short))
		require.Equal(t, 3, short)

		for _, lone := range []string{`return '12'`, `return 12`, `return {'OK', 12}`} {
			r, err = call(lone)
			require.NoError(t, err, lone)
			require.Equal(t, 1, r.Len(), lone)
			require.NoError(t, r.Scan(&short), lone)
			require.Equal(t, 12, short, lone)
		}
		for _, nothing := range []string{`return nil`, `return false`, `return {'OK'}`} {
			r, err = call(nothing)
			require.NoError(t, err, nothing)
			require.Zero(t, r.Len(), nothing)
			require.Equal(t, nothing != `return {'OK'}`, r.IsNil(), nothing)
		}
		r, err = call(`return {'OK', 'a', 'b'}`)
		require.NoError(t, err)
		list, err = r.Texts()
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, list)

		r, err = call(`return {'OK', 3, 2, 'full', 5, 'taken'}`)
		require.NoError(t, err)
		refused, err := r.From(1).Refusals()
		require.NoError(t, err)
		require.Equal(t, map[int]string{2: "full", 5: "taken"}, refused)
		refused, err = r.From(5).Refusals()
		require.NoError(t, err)
		require.Nil(t, refused)
	})
}

func TestCallReportsWhyAScriptRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		call := caller(t, cfg)
		_, err := call(`return {'GAP', 41}`)
		require.Equal(t, "GAP", link.WordOf(err))
		require.Equal(t, link.Ran, link.OutcomeOf(err))
		var refused *link.RefusedError
		require.ErrorAs(t, err, &refused)
		var last int
		require.NoError(t, refused.Details.Scan(&last))
		require.Equal(t, 41, last)
		require.Empty(t, link.WordOf(nil))
	})
}

// A type that a script has looked for and one that a command of it stumbled over: the key
// and its type are named either way.
func TestCallHasOneErrorForAKeyOfTheWrongType(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		call := caller(t, cfg)
		key := cfg.Keys().Epoch()
		require.NoError(t, redistest.Client(t, cfg).RPush(t.Context(), key, "mine").Err())
		for text, want := range map[string]link.WrongTypeError{
			`local fit, found = fits(KEYS[1], 'hash') if not fit then return {'WRONGTYPE', KEYS[1], found} end`: {Key: key, Type: "list"},
			`return {'WRONGTYPE', KEYS[1]}`:        {Key: key, Type: "list"},
			`return redis.call('GET', KEYS[1])`:    {Key: key, Type: "list"},
			`return redis.pcall('GET', KEYS[1])`:   {Key: key, Type: "list"},
			`return redis.call('HLEN', KEYS[1])`:   {Key: key, Type: "list"},
			`return {'WRONGTYPE'}`:                 {Key: key, Type: "list"},
			`return {'WRONGTYPE', KEYS[1], 'set'}`: {Key: key, Type: "set"},
		} {
			_, err := call(text)
			var wrong *link.WrongTypeError
			require.ErrorAs(t, err, &wrong, text)
			require.Equal(t, want, *wrong, text)
			require.ErrorContains(t, err, "rename or delete it")
			require.ErrorContains(t, err, want.Key)
			require.Equal(t, link.Ran, link.OutcomeOf(err), text)
		}
	})
}

func TestAMalformedReplyIsAnErrorNotAGuess(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		call := caller(t, cfg)
		for _, text := range []string{`return {}`, `return {1, 'OK'}`, `return {{'OK'}}`, `return {false}`} {
			_, err := call(text)
			require.ErrorIs(t, err, link.ErrMalformedReply, text)
			require.Equal(t, link.Ran, link.OutcomeOf(err), text)
		}
		var text string
		var n int
		var is bool
		var list []string
		for _, c := range []struct {
			lua  string
			dest []any
		}{
			{`return nil`, []any{&text}},
			{`return {'OK', 'a'}`, nil},
			{`return {'OK', 'a'}`, []any{&text, &text}},
			{`return {'OK', 'a', 'b'}`, []any{&text}},
			{`return {'OK', 1}`, []any{&text}},
			{`return {'OK', false}`, []any{&text}},
			{`return {'OK', 'x'}`, []any{&n}},
			{`return {'OK', {}}`, []any{&n}},
			{`return {'OK', 2}`, []any{&is}},
			{`return {'OK', 'yes'}`, []any{&is}},
			{`return {'OK', 'x'}`, []any{&list}},
			{`return {'OK', {'x', 1}}`, []any{&list}},
		} {
			r, err := call(c.lua)
			require.NoError(t, err, c.lua)
			require.ErrorIs(t, r.Scan(c.dest...), link.ErrMalformedReply, c.lua)
		}
		for _, lua := range []string{`return 'x'`, `return {'OK', 'a', 1}`} {
			r, err := call(lua)
			require.NoError(t, err, lua)
			_, err = r.Texts()
			require.ErrorIs(t, err, link.ErrMalformedReply, lua)
		}
		for _, lua := range []string{`return 1`, `return {'OK', 1}`, `return {'OK', 'full', 1}`, `return {'OK', 1, 'full', 2}`} {
			r, err := call(lua)
			require.NoError(t, err, lua)
			_, err = r.Refusals()
			require.ErrorIs(t, err, link.ErrMalformedReply, lua)
		}
	})
}

func TestCallExplainsWhatRedisDidNotRun(t *testing.T) {
	server := redistest.Embedded(t)
	call := caller(t, server.Config())
	server.Break("LOADING Redis is loading the dataset in memory")
	_, err := call(`return 1`)
	require.ErrorIs(t, err, link.ErrUnavailable)
	require.Equal(t, link.DidNotRun, link.OutcomeOf(err))
	server.Break("")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = link.NewScript(`return 1`).Call(ctx, redistest.Client(t, server.Config()), []string{"x"})
	require.ErrorIs(t, err, context.Canceled)
}

// What every claim, commit and load does must cost no memory of its own.
func TestReadingAReplyAllocatesNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c := redistest.Client(t, cfg)
		cmd := link.NewScript(`return {'OK', 'a', 7, '8', 1}`).Run(t.Context(), c, []string{cfg.Keys().Epoch()})
		require.Zero(t, testing.AllocsPerRun(100, func() {
			r, err := link.ReplyOf(cmd)
			var text string
			var short int
			var long int64
			var is bool
			if err != nil || r.Scan(&text, &short, &long, &is) != nil {
				panic("not read")
			}
			if refused, err := r.From(4).Refusals(); refused != nil || err != nil {
				panic("not read")
			}
		}))
	})
}
