package embedded

// blockSize is the size in bytes of a block that small writes share.
const blockSize = 16 << 10

// blocks are bytes in the order in which they were written. To write never moves the bytes
// that are there: a megabyte more takes as long behind a hundred of them as behind none.
type blocks struct {
	list [][]byte
	read int // how much of the first block
	size int // in bytes, of what is unread
}

// write appends a copy of b.
func (k *blocks) write(b []byte) {
	k.size += len(b)
	if last := len(k.list) - 1; last >= 0 {
		n := min(len(b), cap(k.list[last])-len(k.list[last]))
		k.list[last] = append(k.list[last], b[:n]...)
		b = b[n:]
	}
	if len(b) > 0 {
		k.list = append(k.list, append(make([]byte, 0, max(blockSize, len(b))), b...))
	}
}

// take moves bytes to b, of one block at most.
func (k *blocks) take(b []byte) (n int) {
	if k.size == 0 {
		return 0
	}
	n = copy(b, k.list[0][k.read:])
	k.read += n
	k.size -= n
	switch {
	case k.read < len(k.list[0]):
	case k.size > 0:
		k.list[0] = nil
		k.list, k.read = k.list[1:], 0
	case cap(k.list[0]) > blockSize:
		*k = blocks{}
	default: // what is written next has its place
		k.list[0], k.read = k.list[0][:0], 0
	}
	return n
}
