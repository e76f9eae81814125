package embedded

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBlocksAreReadAsTheyWereWritten(t *testing.T) {
	var b blocks
	var want bytes.Buffer
	random := rand.New(rand.NewPCG(1, 2))
	into, next := make([]byte, 3*blockSize), byte(0)
	for range 20_000 {
		length := random.IntN(1 << random.IntN(17))
		if random.IntN(2) == 0 {
			piece := make([]byte, length)
			for i := range piece {
				next++
				piece[i] = next
			}
			b.write(piece)
			want.Write(piece)
			clear(piece) // they are a copy
		} else {
			n := b.take(into[:min(length, len(into))])
			require.True(t, n > 0 || length == 0 || want.Len() == 0, "bytes are there")
			require.True(t, bytes.Equal(want.Next(n), into[:n]))
		}
		require.Equal(t, want.Len(), b.size)
	}
	for b.size > 0 {
		n := b.take(into)
		require.True(t, bytes.Equal(want.Next(n), into[:n]))
	}
	require.Zero(t, want.Len())
}

// A server whose client does not read appends under its lock: that must not take longer the
// more is unread.
func TestBlocksThatAreThereAreNotMoved(t *testing.T) {
	const piece, pieces = 64 << 10, 512
	var b blocks
	from := make([]byte, piece)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range pieces {
		b.write(from)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(piece*pieces*5/4))
	for b.size > 0 {
		b.take(from)
	}
	require.Empty(t, b.list, "an empty stream keeps no large block")

	b.write(from[:10])
	kept := &b.list[0][:1][0]
	for range 100 {
		require.Equal(t, 10, b.take(from))
		b.write(from[:10])
	}
	require.Same(t, kept, &b.list[0][:1][0], "small messages share a block")
}
