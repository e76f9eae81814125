package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/wire"
)

func members(t *testing.T, text string) map[string]string {
	t.Helper()
	got := map[string]string{}
	require.NoError(t, wire.Members([]byte(text), func(k, v []byte) { got[string(k)] = string(v) }))
	return got
}

func TestMembersHandsOutRawValues(t *testing.T) {
	require.Equal(t, map[string]string{
		"a": `1.50e+3`, "b": `"x\u0041\"y"`, "c": `{"a": [1, {"a":null}]}`, "d": `[]`, "e": `true`, "f": `{}`,
	}, members(t, " {\"a\": 1.50e+3 ,\n\"b\":\"x\\u0041\\\"y\",\"c\":{\"a\": [1, {\"a\":null}]},\"d\":[],\"e\" :true,\"f\":{}}\t"))
	require.Empty(t, members(t, `{}`))
}

func TestMembersRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := make([]string, 0, 40)
	for i := range 39 {
		many = append(many, fmt.Sprintf(`"k%d":1`, i))
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":                    {``, wire.ErrSyntax},
		"null":                       {`null`, wire.ErrSyntax},
		"list":                       {`[1]`, wire.ErrSyntax},
		"two values":                 {`{}{}`, wire.ErrSyntax},
		"open":                       {`{"a":1`, wire.ErrSyntax},
		"trailing comma":             {`{"a":1,}`, wire.ErrSyntax},
		"leading zero":               {`{"a":01}`, wire.ErrSyntax},
		"bare point":                 {`{"a":1.}`, wire.ErrSyntax},
		"bare exponent":              {`{"a":1e}`, wire.ErrSyntax},
		"control character":          {"{\"a\":\"\n\"}", wire.ErrSyntax},
		"bad escape":                 {`{"a":"\x"}`, wire.ErrSyntax},
		"short escape":               {`{"a":"\u12"}`, wire.ErrSyntax},
		"not UTF-8":                  {"{\"a\":\"\xff\"}", wire.ErrSyntax},
		"escaped name":               {`{"\u0061":1}`, wire.ErrSyntax},
		"foreign name":               {`{"ſ":1}`, wire.ErrSyntax},
		"twins":                      {`{"serverToken":"a","serverToken":"b"}`, wire.ErrTwins},
		"twins but for case":         {`{"serverToken":"a","ServerToken":"b"}`, wire.ErrTwins},
		"nested twins":               {`{"a":[{"b":1,"b":2}]}`, wire.ErrTwins},
		"nested twins by escape":     {`{"a":{"b":1,"\u0062":2}}`, wire.ErrTwins},
		"nested twins by surrogates": {`{"a":{"\ud800":1,"\udc00":2}}`, wire.ErrTwins},
		"twins among many":           {`{"a":{` + strings.Join(append(many, `"k3":2`), ",") + `}}`, wire.ErrTwins},
		"too deep":                   {`{"a":` + deep(wire.MaxDepth) + `}`, wire.ErrDepth},
		"far too deep":               {`{"a":` + strings.Repeat("[", 1<<20), wire.ErrDepth},
		"far too deep in objects":    {strings.Repeat(`{"a":`, 1<<20), wire.ErrDepth},
	} {
		require.ErrorIs(t, wire.Members([]byte(c.text), func(_, _ []byte) {}), c.want, name)
	}
	members(t, `{"a":`+deep(wire.MaxDepth-1)+`}`)
	members(t, `{"a":{"b":1,"B":2}}`)
	require.NoError(t, wire.Check([]byte(deep(wire.MaxDepth-1)), 1))
	require.ErrorIs(t, wire.Check([]byte(deep(wire.MaxDepth)), 1), wire.ErrDepth)
	require.ErrorIs(t, wire.Check([]byte(`1 2`), 1), wire.ErrSyntax)
}

func TestTextAndNumbers(t *testing.T) {
	for _, text := range []string{"", "plain", "a\"b\\c", "line\nbreak", "ünïcödé  ", "<&>", "\x00"} {
		quoted := wire.AppendText(nil, text)
		var back string
		require.NoError(t, json.Unmarshal(quoted, &back))
		require.Equal(t, text, back)
		got, ok := wire.Text(quoted)
		require.True(t, ok)
		require.Equal(t, text, got)
	}
	require.Equal(t, `"<&>"`, string(wire.AppendText(nil, "<&>")))
	for _, value := range []string{`1`, `null`, `"`, ``} {
		_, ok := wire.Text([]byte(value))
		require.False(t, ok, value)
		require.Nil(t, wire.Plain([]byte(value)), value)
	}
	n, ok := wire.Uint([]byte("18446744073709551615"))
	require.True(t, ok)
	require.Equal(t, ^uint64(0), n)
	for _, value := range []string{`-1`, `1.0`, `1e3`, `"1"`, ``} {
		_, ok := wire.Uint([]byte(value))
		require.False(t, ok, value)
	}
}

func TestTexts(t *testing.T) {
	for _, texts := range []map[string]string{{}, {"a": ""}, {"b": "\"\\ü\n", "a": "1", "c": "<&>"}} {
		object := wire.AppendTexts(nil, texts)
		require.NoError(t, wire.Check(object, 0))
		got, ok := wire.Texts(object)
		require.True(t, ok)
		require.Equal(t, texts, got)
	}
	sorted := wire.AppendTexts(nil, map[string]string{"b": "2", "a": "1"})
	require.True(t, bytes.Equal([]byte(`{"a":"1","b":"2"}`), sorted), "%s", sorted)
	for _, value := range []string{`{"a":1}`, `{"a":null}`, `{"a":{}}`, `["a"]`, `"a"`, `null`, `{"\u0061":"1"}`, ``} {
		_, ok := wire.Texts([]byte(value))
		require.False(t, ok, value)
	}
}

// What passes is JSON, and what is JSON passes unless a stated limit forbids it.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{ "a" : "\"}{\\" , "b":[ "]" , {"c":"\\\""} ] }`, `[1,2.5e-3,"x",null,true,false]`, `{"a":{"b":["\u00e9","\\"]}}`, `{"a":1,"A":2}`, `"x"`, `-0`, "\xff",
		`{"messageType":"call","serverId":"n","incarnation":"n#1:a","seq":1,"sentAt":1,"body":{},"serverToken":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		valid := json.Valid(data) && utf8.Valid(data)
		switch err := wire.Check(data, 0); {
		case err == nil:
			require.True(t, valid)
		case errors.Is(err, wire.ErrSyntax):
			require.False(t, valid)
		default:
			require.True(t, errors.Is(err, wire.ErrTwins) || errors.Is(err, wire.ErrDepth), err)
		}
		var total int
		err := wire.Members(data, func(key, value []byte) {
			total += len(key) + len(value)
			require.NoError(t, wire.Check(value, 1))
			if texts, ok := wire.Texts(value); ok {
				again, ok := wire.Texts(wire.AppendTexts(nil, texts))
				require.True(t, ok)
				require.Equal(t, texts, again)
			}
		})
		var first, again [][2]string
		_ = wire.Members(data, func(key, value []byte) { first = append(first, [2]string{string(key), string(value)}) })
		foundAgain := wire.Again(data, func(key, value []byte) { again = append(again, [2]string{string(key), string(value)}) })
		if err == nil {
			require.NoError(t, foundAgain)
			require.Equal(t, first, again)
			var object map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(data, &object))
			require.LessOrEqual(t, total, len(data))
		}
	})
}

// The scanner looks at eight bytes at once: each byte at each place of them.
func TestEveryByteInAStringIsJudgedWhereverItStands(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := bytes.Repeat([]byte{'x'}, length)
				text[at] = byte(c)
				value := append(append([]byte{'"'}, text...), '"')
				valid := utf8.Valid(value) && json.Valid(value)
				require.Equal(t, valid, wire.Check(value, 0) == nil, "%q", value)
			}
		}
	}
}
