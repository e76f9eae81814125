package admin

import (
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// named is a connection that only has a name.
type named struct {
	net.Conn

	name string
}

func TestTheConnectionThatWasIdleLongestIsClosed(t *testing.T) {
	conns := map[string]net.Conn{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		conns[name] = &named{name: name}
	}
	c := newConnections(3)
	for i, step := range []struct {
		name   string
		state  http.ConnState
		closes string
	}{
		{"a", http.StateNew, ""}, {"b", http.StateNew, ""}, {"c", http.StateNew, ""},
		{"a", http.StateActive, ""}, {"a", http.StateIdle, ""},
		{"d", http.StateNew, "b"},                                // a has had a request since
		{"b", http.StateActive, ""}, {"b", http.StateClosed, ""}, // it is forgotten
		{"c", http.StateActive, ""}, {"a", http.StateActive, ""}, {"d", http.StateActive, ""},
		{"e", http.StateNew, "c"}, // none is idle: the request that began first
		{"f", http.StateNew, "e"}, // an idle one before any that is busy
		{"a", http.StateClosed, ""}, {"b", http.StateNew, ""},
		{"d", http.StateHijacked, ""}, {"a", http.StateNew, ""},
		{"c", http.StateNew, "f"},
	} {
		victim := c.enter(conns[step.name], step.state)
		if step.closes == "" {
			require.Nil(t, victim, i)
			continue
		}
		require.Equal(t, conns[step.closes], victim, i)
	}
	require.Len(t, c.open, 3)
	require.Equal(t, 3, c.idle.Len()+c.busy.Len())
}
