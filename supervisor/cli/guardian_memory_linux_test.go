package cli

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/tasks"
)

// A child that needs more memory than it may is replaced: that is no death, what it has in hand is neither cut off
// nor done twice, and there is no moment without a node.
func TestAChildThatNeedsTooMuchMemoryIsReplaced(t *testing.T) {
	t.Parallel()
	g := guardian(t, "guarded", 1, nil, "--processes", "1", "--workers", "1", "--max-memory", "300MiB")
	g.enqueue("hold", 2500, tasks.Options{ID: "in-hand"})
	g.eventually(func() bool { return len(g.runs("in-hand")) == 1 }, "in hand")
	child := g.children()[0]
	g.enqueue("grow", 310, tasks.Options{ID: "grow"})
	g.err.await(t, "process needs more memory than --max-memory: replacing it", 1)
	g.err.await(t, "new process has taken over: the one before it drains", 1)
	require.True(t, isAlive(child))
	g.eventually(func() bool { return !isAlive(child) }, "it ends")
	g.awaitNodes(1)
	require.NotEqual(t, child, g.children()[0])
	require.Len(t, g.runs("in-hand"), 1, "it was given the time to end")
	require.EqualValues(t, 2, g.counts().Done)
	g.signal(t, syscall.SIGTERM)
	require.Zero(t, g.wait(t), g.err)
	require.Contains(t, g.err.String(), "2 lives of processes, 0 deaths")
	require.Equal(t, 1, strings.Count(g.err.String(), "replacing it"))
}
