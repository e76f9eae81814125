package worker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsAnnouncedOfNodesThatJoinAndLeave(t *testing.T) {
	a := newAnnouncer()
	announces := func(joined, left []string) {
		t.Helper()
		j, l := a.take()
		require.Equal(t, joined, j)
		require.Equal(t, left, l)
	}
	announces(nil, nil)
	a.join("w-10")
	a.join("w-2")
	announces([]string{"w-2", "w-10"}, nil)
	a.join("w-2") // it crashed, and is back
	a.join("w-2")
	announces([]string{"w-2"}, nil)

	a.join("w-2") // it crashed, is back, and is stopped before that was announced
	a.join("w-2")
	a.leave("w-2")
	announces(nil, []string{"w-2"})

	a.join("w-3")
	a.join("w-3")
	a.leave("w-3")
	announces(nil, nil)

	a.leave("w-10") // it runs anew
	a.join("w-10")
	announces([]string{"w-10"}, []string{"w-10"})
	a.leave("w-10")
	announces(nil, []string{"w-10"})
}
