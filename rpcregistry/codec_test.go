package rpcregistry

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/wire"
)

func TestCallsAndRepliesComeBackAsTheyWere(t *testing.T) {
	from := redisbus.Identity{ID: "a", Incarnation: "a#1:x"}
	for _, c := range []call{
		{id: "abc", method: "m", meta: map[string]string{"tenant": "1"}, deadline: time.UnixMilli(7), args: json.RawMessage(`{"a":["\"}",{}]}`), connection: "c:1"},
		{method: "m", deadline: time.UnixMilli(1 << 41)},
	} {
		c.from = from
		text := c.encode()
		require.NoError(t, wire.Check(text, 1))
		got, ok := decodeCall(redisbus.Message{ServerID: "a", Incarnation: "a#1:x", Body: c.message("b").Body, Meta: c.message("b").Meta})
		require.True(t, ok)
		require.Equal(t, c, got)
	}
	for _, r := range []reply{
		{}, {value: json.RawMessage(`null`)}, {value: json.RawMessage(`{"a":1}`)},
		{err: &Error{Code: "x", Message: "a \"text\"\n <&> \x00 \xff ü", Node: "a"}},
	} {
		text := r.encode("abc")
		require.NoError(t, wire.Check(text, 1))
		id, got, ok := decodeReply(redisbus.Message{ServerID: "a", Body: text})
		require.True(t, ok)
		require.Equal(t, "abc", string(id))
		if r.err != nil {
			r.err.Message = "a \"text\"\n <&> \x00 � ü"
		}
		require.Equal(t, r, got)
	}
}

// Whatever a node that knows the token sends, reading it ends with a call, a
// reply or a refusal.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"abc","method":"m","deadline":1,"args":[1]}`))
	f.Add([]byte(`{"id":"abc","code":"x","message":"y"}`))
	f.Add([]byte(`{"id":"abc","value":null}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"id":"a\u0062"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := redisbus.Message{ServerID: "a", Body: data}
		c, isCall := decodeCall(m)
		id, r, isReply := decodeReply(m)
		if wire.Check(data, 1) != nil {
			return // the bus does not deliver it
		}
		if isCall {
			again, ok := decodeCall(redisbus.Message{ServerID: "a", Body: c.encode()})
			require.True(t, ok)
			require.Equal(t, c.method, again.method)
		}
		if isReply && r.err == nil {
			require.NotNil(t, id)
			require.True(t, r.value == nil || json.Valid(r.value))
		}
	})
}
