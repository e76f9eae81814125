package cache

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatWasLoadedBeforeAChangeIsNotKeptAfterIt(t *testing.T) {
	n := newNear(Near{Prefixes: []string{"k"}})
	loaded := &nearEntry{loaded: true, entry: Entry{Key: "k"}}

	mark := n.begin("k")
	n.put("k", mark, loaded)
	_, ok := n.get("k")
	require.True(t, ok)

	n.forget("k")
	mark = n.begin("k")
	n.forget("k") // announced while the load was under way
	n.put("k", mark, loaded)
	_, ok = n.get("k")
	require.False(t, ok)

	mark = n.begin("k")
	n.forget("k")
	later := n.begin("k") // another load, of the new value
	n.put("k", mark, loaded)
	_, ok = n.get("k")
	require.False(t, ok)
	n.put("k", later, &nearEntry{loaded: true, until: time.Now().Add(-time.Second)})
	_, ok = n.get("k")
	require.False(t, ok, "its time is over")

	mark = n.begin("k")
	n.flush() // everything has changed
	n.put("k", mark, loaded)
	_, ok = n.get("k")
	require.False(t, ok)
}
