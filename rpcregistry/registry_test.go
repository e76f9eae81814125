package rpcregistry_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/rpcregistry"
)

type Base struct {
	ID string `json:"id"`
}

type mail struct {
	Base

	To      string            `json:"to"`
	After   *float64          `json:"after,omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Headers map[string]string `json:"headers"`
	Secret  string            `json:"-"`
}

// taken registers a method that takes a Req and returns what it got.
func taken[Req any](t *testing.T) func(args string) (Req, error) {
	return takenBy(t, rpcregistry.Handle[Req, any])
}

// strictlyTaken is taken of a strict method.
func strictlyTaken[Req any](t *testing.T) func(args string) (Req, error) {
	return takenBy(t, rpcregistry.HandleStrict[Req, any])
}

func takenBy[Req any](
	t *testing.T, handle func(rpcregistry.Registrar, string, func(context.Context, Req) (any, error)),
) func(args string) (Req, error) {
	r := rpcregistry.NewRegistry()
	var got Req
	handle(r, "m", func(_ context.Context, req Req) (any, error) { got = req; return nil, nil })
	m, err := r.Lookup("m")
	require.NoError(t, err)
	return func(args string) (Req, error) {
		var zero Req
		got = zero
		var raw json.RawMessage
		if args != "" {
			raw = json.RawMessage(args)
		}
		_, err := m.Call(t.Context(), raw)
		return got, err
	}
}

func TestArgumentsByNameAndByPosition(t *testing.T) {
	call := taken[mail](t)
	after := 1.5
	want := mail{Base: Base{ID: "7"}, To: "x", After: &after, Tags: []string{"a", "b"}}
	for _, args := range []string{
		`{"id":"7","to":"x","after":1.5,"tags":["a","b"],"unknown":1}`,
		`[{"id":"7","to":"x","after":1.5,"tags":["a","b"]}]`,
		`["7","x",1.5,["a","b"]]`,
		` ["7","x",1.5,["a","b"],null]`,
	} {
		got, err := call(args[len(args)-len([]byte(args)):])
		if args[0] == ' ' {
			got, err = call(args[1:])
		}
		require.NoError(t, err, args)
		require.Equal(t, want, got, args)
	}
	for _, args := range []string{``, `null`, `[]`, `{}`, `[null]`} {
		got, err := call(args)
		require.NoError(t, err, args)
		require.Equal(t, mail{}, got, args)
	}
	for _, args := range []string{`[1]`, `"x"`, `7`, `["7","x",1.5,[],{},6]`, `{"to":7}`, `[[],"x"]`} {
		_, err := call(args)
		require.ErrorIs(t, err, rpcregistry.ErrBadArguments, args)
	}
	pointer, err := taken[*mail](t)(`["7","x"]`)
	require.NoError(t, err)
	require.Equal(t, &mail{Base: Base{ID: "7"}, To: "x"}, pointer)
	type sent struct {
		Message json.RawMessage `json:"message"`
		Urgent  bool            `json:"urgent"`
	}
	object, err := taken[sent](t)(`[{"message":1}]`)
	require.NoError(t, err)
	require.Equal(t, `{"message":1}`, string(object.Message), "the first field takes an object")
	nothing, err := taken[*mail](t)(``)
	require.NoError(t, err)
	require.Nil(t, nothing)
}

func TestArgumentsThatAreNoStruct(t *testing.T) {
	for _, args := range []string{`"x"`, `["x"]`} {
		got, err := taken[string](t)(args)
		require.NoError(t, err)
		require.Equal(t, "x", got)
	}
	_, err := taken[string](t)(`["x","y"]`)
	require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
	list, err := taken[[]int](t)(`[1,2]`)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, list)
	raw, err := taken[json.RawMessage](t)(`[1,{"a":2}]`)
	require.NoError(t, err)
	require.Equal(t, `[1,{"a":2}]`, string(raw))
	whatever, err := taken[any](t)(`[1]`)
	require.NoError(t, err)
	require.Equal(t, []any{1.0}, whatever)
	named, err := taken[map[string]int](t)(`[{"a":1}]`)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"a": 1}, named)
	at, err := taken[time.Time](t)(`"2026-01-02T03:04:05Z"`)
	require.NoError(t, err)
	require.Equal(t, 2026, at.Year())
	addr, err := taken[netip.Addr](t)(`["10.0.0.1"]`)
	require.NoError(t, err)
	require.Equal(t, "10.0.0.1", addr.String())
}

// hour is written as {"hour": 7, "zone": "UTC"}; it takes no interest in the zone.
type hour int

func (h *hour) UnmarshalJSON(text []byte) error {
	var in struct {
		Hour int `json:"hour"`
	}
	err := json.Unmarshal(text, &in)
	*h = hour(in.Hour)
	return err
}

type parcel struct {
	Base

	To struct {
		Street string `json:"street"`
	} `json:"to"`
	At   hour            `json:"at"`
	Rest json.RawMessage `json:"rest,omitempty"`
}

func TestStrictMethodsRefuseUnknownArguments(t *testing.T) {
	call := strictlyTaken[parcel](t)
	for unknown, all := range map[string][]string{
		"street": {`{"street":"x"}`, `{"id":"7","street":"x"}`, `[{"id":"7","street":"x"}]`},
		"stret":  {`{"to":{"stret":"x"}}`, `["7",{"stret":"x"}]`},
		"Base":   {`{"Base":{"id":"7"}}`},
	} {
		for _, args := range all {
			got, err := call(args)
			require.ErrorIs(t, err, rpcregistry.ErrBadArguments, args)
			require.ErrorContains(t, err, `"`+unknown+`"`, args)
			require.ErrorContains(t, err, "it takes {id: string, to: {street: string}, at: hour, rest?: any}", args)
			require.Zero(t, got, "the method did not run")
			_, err = taken[parcel](t)(args)
			require.NoError(t, err, "one that is not strict ignores it: %s", args)
		}
	}
	want := parcel{Base: Base{ID: "7"}, At: 8, Rest: json.RawMessage(`{"a":1}`)}
	want.To.Street = "x"
	for _, args := range []string{
		`{"id":"7","to":{"street":"x"},"at":{"hour":8,"zone":"UTC"},"rest":{"a":1}}`,
		`{"ID":"7","To":{"STREET":"x"},"aT":{"hour":8},"\u0072est":{"a":1}}`,
		`[{"id":"7","to":{"street":"x"},"at":{"hour":8,"zone":"UTC"},"rest":{"a":1}}]`,
		`["7",{"street":"x"},{"hour":8,"zone":"UTC"},{"a":1}]`,
	} {
		got, err := call(args)
		require.NoError(t, err, args)
		require.Equal(t, want, got, args)
	}
	for _, args := range []string{``, `null`, `[]`, `{}`, `[null]`} {
		got, err := call(args)
		require.NoError(t, err, args)
		require.Zero(t, got, args)
	}
}

func TestStrictMethodsThatTakeNoStruct(t *testing.T) {
	whatever, err := strictlyTaken[map[string]int](t)(`[{"a":1}]`)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"a": 1}, whatever)
	raw, err := strictlyTaken[json.RawMessage](t)(`{"a":1}`)
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(raw))
	_, err = strictlyTaken[[]Base](t)(`[{"id":"7"},{"name":"x"}]`)
	require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
	require.ErrorContains(t, err, `"name": it takes [{id: string}]`)
	_, err = strictlyTaken[struct{}](t)(`{"a":1}`)
	require.ErrorContains(t, err, `"a": it takes {}`)
}

func TestAMethodMayDecodeItsArgumentsInItsOwnWay(t *testing.T) {
	inMinutes := func(text []byte, v any) error { // durations, which are all that it takes
		var minutes int64
		if err := json.Unmarshal(text, &minutes); err != nil {
			return err
		}
		*v.(*time.Duration) = time.Duration(minutes) * time.Minute
		return nil
	}
	type wait struct {
		For, Every time.Duration
	}
	take := takenBy(t, func(r rpcregistry.Registrar, name string, f func(context.Context, wait) (any, error)) {
		rpcregistry.HandleDecoded(r, name, rpcregistry.Decoder{Decode: inMinutes}, f)
	})
	got, err := take(`[60, 5]`)
	require.NoError(t, err)
	require.Equal(t, wait{time.Hour, 5 * time.Minute}, got)
	_, err = take(`["long"]`)
	require.ErrorIs(t, err, rpcregistry.ErrBadArguments)
	require.ErrorContains(t, err, "it takes {For: number, Every: number}")
}

func TestArgumentsThatDoNotFitAreToldWhatFits(t *testing.T) {
	for _, args := range []string{`{"id":7}`, `["7","8"]`, `"7"`} {
		_, err := taken[Base](t)(args)
		require.ErrorIs(t, err, rpcregistry.ErrBadArguments, args)
		require.ErrorContains(t, err, ": it takes {id: string}", args)
	}
}

func TestMethodsAreListedReadably(t *testing.T) {
	type node struct {
		Next *node         `json:"next"`
		Wait time.Duration `json:"wait,omitzero"`
		At   time.Time     `json:"at"`
		Any  any           `json:"any"`
		Data []byte        `json:"data"`
		On   bool
	}
	r := rpcregistry.NewRegistry()
	rpcregistry.Handle(r, "b.mail", func(context.Context, mail) ([]string, error) { return nil, nil })
	rpcregistry.Handle(r, "a.node", func(context.Context, node) (map[string]netip.Addr, error) { return nil, nil })
	rpcregistry.Handle(r, "c.hidden", func(context.Context, json.RawMessage) (*int, error) { return nil, nil })
	r.Deny("c.*")
	require.NoError(t, r.Err())
	all := r.Methods()
	require.Len(t, all, 2)
	require.Equal(t, "a.node", all[0].Name)
	require.Equal(t, "{next?: node, wait?: number, at: time, any: any, data: base64, On: boolean}", all[0].Arguments)
	require.Equal(t, "{*: string}", all[0].Result)
	require.Equal(t, "{id: string, to: string, after?: number, tags?: [string], headers: {*: string}}", all[1].Arguments)
	require.Equal(t, "[string]", all[1].Result)
}

// price has a JSON form of its own, which it tells.
type price struct{ cents int }

func (p *price) MarshalJSON() ([]byte, error)    { return json.Marshal(priceJSON{Amount: p.cents}) }
func (p *price) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &p.cents) }
func (p *price) JSONForm() any                   { return priceJSON{} }

type priceJSON struct {
	Amount int    `json:"amount"`
	In     *price `json:"in,omitempty"`
}

// minutes is a duration that says its unit.
type minutes int

func (minutes) JSONForm() any { return "minutes" }

// wide has itself in many places, through types of many names.
type (
	wide  struct{ A, B, C, D wider }
	wider struct{ A, B, C, D widest }

	widest struct {
		A, B, C, D wide2
		Back       *wide
	}
	wide2 struct{ A, B, C, D *wide3 }
	wide3 struct {
		A, B, C, D []struct{ Long, Longer, Longest map[string]wide4 }
	}
	wide4 struct{ A, B, C, D []wide }
)

func TestAMethodsTypesAreListedWhole(t *testing.T) {
	type inner struct {
		Deep map[int][]map[string]*price `json:"deep"`
	}
	type base struct {
		inner

		Tags [2]inner `json:"tags,omitzero"`
	}
	type all struct {
		*base

		Named   inner             `json:"named"`
		Wait    *minutes          `json:"wait"`
		Hidden  string            `json:"-"`
		Quoted  int               `json:"quoted,string"`
		Number  json.Number       `json:"number"`
		Level   zerolog.Level     `json:"level"`
		Blank   struct{}          `json:"blank"`
		Nothing chan int          `json:"nothing"`
		Next    []map[string]*all `json:"next"`
		Node    interface{ Do() } `json:"node"`
	}
	r := rpcregistry.NewRegistry()
	rpcregistry.Handle(r, "all", func(context.Context, all) (priceJSON, error) { return priceJSON{}, nil })
	rpcregistry.Handle(r, "wide", func(context.Context, wide) ([]struct{ A []wide }, error) { return nil, nil })
	methods := r.Methods()
	amount := "{amount: number, in?: priceJSON}"
	deep := "deep: {*: [{*: " + amount + "}]}"
	require.Equal(t, "{"+deep+", tags?: [{"+deep+"}], named: {"+deep+"}, wait?: minutes, quoted: string, number: number, "+
		"level: string, blank: {}, nothing: any, next: [{*: all}], node: any}", methods[0].Arguments)
	require.Equal(t, amount, methods[0].Result)
	require.Less(t, len(methods[1].Arguments), 20<<10)
	require.Contains(t, methods[1].Arguments, "{…}")
	require.Contains(t, methods[1].Arguments, "Back?: wide}")
}

func TestDenyPatterns(t *testing.T) {
	for pattern, names := range map[string]map[string]bool{
		"api.stop":      {"api.stop": true, "api.stop2": false, "xapi.stop": false},
		"api.cache.*":   {"api.cache.save": true, "api.cache.": true, "api.cache": false, "api.caches.x": false},
		"*":             {"anything": true},
		"*.secret":      {"a.secret": true, "a.secret.b": false, "secret": false},
		"a*b*c":         {"abc": true, "aXbXc": true, "acb": false, "abcbc": true, "ab": false},
		"api.*.destroy": {"api.cache.destroy": true, "api.destroy": false, "api..destroy": true},
		"a*a":           {"a": false, "aa": true},
	} {
		r := rpcregistry.NewRegistry()
		r.Deny(pattern)
		require.NoError(t, r.Err())
		for name, denied := range names {
			_, err := r.Lookup(name)
			if denied {
				require.ErrorIs(t, err, rpcregistry.ErrDenied, "%s %s", pattern, name)
			} else {
				require.ErrorIs(t, err, rpcregistry.ErrNoSuchMethod, "%s %s", pattern, name)
			}
		}
	}
}

func TestRegistrationsAreCheckedTogether(t *testing.T) {
	r := rpcregistry.NewRegistry()
	f := func(context.Context, any) (any, error) { return nil, nil }
	rpcregistry.Handle(r, "fine", f)
	rpcregistry.Handle(r, "fine", f)
	rpcregistry.Handle(r, "not fine", f)
	r.RegisterMethod(rpcregistry.Method{Name: "empty"})
	r.Deny("a b")
	c := r.Extend()
	for _, part := range []string{"fine is registered twice", `"not fine"`, "empty has no function", `"a b"`} {
		require.ErrorContains(t, c.Err(), part)
	}
	rpcregistry.Handle(c, "more", f)
	_, err := r.Lookup("more")
	require.ErrorIs(t, err, rpcregistry.ErrNoSuchMethod, "an extension is its own")
}

func TestAnExtensionHasWhatItExtends(t *testing.T) {
	r := rpcregistry.NewRegistry()
	f := func(context.Context, int) (string, error) { return "", nil }
	rpcregistry.Handle(r, "shared", f)
	r.Deny("api.*")
	one, other := r.Extend(), r.Extend()
	rpcregistry.Handle(one, "own", f)
	rpcregistry.Handle(other, "own", f)
	require.NoError(t, errors.Join(one.Err(), other.Err()))
	rpcregistry.Handle(one, "api.own", f)
	_, err := one.Lookup("api.own")
	require.ErrorIs(t, err, rpcregistry.ErrDenied)
	var words []string
	for _, m := range one.Methods() {
		words = append(words, m.Name+" "+m.Arguments+" "+m.Result)
	}
	require.Equal(t, []string{"own number string", "shared number string"}, words)
	rpcregistry.Handle(r, "later", f)
	_, err = one.Lookup("later")
	require.NoError(t, err)
	rpcregistry.Handle(one, "shared", f)
	require.ErrorContains(t, one.Err(), "shared is registered twice")
	require.NoError(t, r.Err())
}
