package membership

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Incarnation identifies one life of a node. The owner of tasks, locks and connections is an
// incarnation; after a restart the node is a new incarnation.
type Incarnation struct {
	ID    string // the node's id, such as stellar-worker-1
	Epoch int64  // grows with every join in the namespace
	Nonce string // 16 random hex digits
}

// String returns the form in which the incarnation is stored on Redis: id#epoch:nonce.
func (i Incarnation) String() string {
	return i.ID + "#" + strconv.FormatInt(i.Epoch, 10) + ":" + i.Nonce
}

// Parse parses the result of [Incarnation.String].
func Parse(s string) (Incarnation, error) {
	id, token, ok := strings.Cut(s, "#")
	epoch, nonce, ok2 := strings.Cut(token, ":")
	n, err := strconv.ParseInt(epoch, 10, 64)
	if !ok || !ok2 || err != nil || id == "" || nonce == "" {
		return Incarnation{}, fmt.Errorf("incarnation %q: want id#epoch:nonce", s)
	}
	return Incarnation{ID: id, Epoch: n, Nonce: nonce}, nil
}

func newNonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// number splits an id such as stellar-worker-2 into its prefix and number. The number is 0
// if the id has none.
func number(id string) (prefix string, n int) {
	at := strings.LastIndexByte(id, '-')
	if at < 0 {
		return id, 0
	}
	n, err := strconv.Atoi(id[at+1:])
	if err != nil || n < 1 || n > maxNumber || id[at+1] == '0' || id[at+1] == '+' {
		return id, 0
	}
	return id[:at], n
}

// maxNumber bounds the bitmap of taken numbers to 128 KiB.
const maxNumber = 1 << 20

// follows reports whether the id b has a's prefix and the next number.
func follows(a, b string) bool {
	ap, an := number(a)
	bp, bn := number(b)
	return an > 0 && ap == bp && bn == an+1
}

// Spans lists sorted ids with ranges, such as "w-1 to w-999, w-1001", and at most 50 items:
// the rest is given as a number.
func Spans(ids []string) string {
	const most = 50
	var out []string
	for len(ids) > 0 {
		if len(out) == most {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(ids))
		}
		n := 1
		for n < len(ids) && follows(ids[n-1], ids[n]) {
			n++
		}
		if n > 2 {
			out = append(out, ids[0]+" to "+ids[n-1])
		} else {
			n = 1
			out = append(out, ids[0])
		}
		ids = ids[n:]
	}
	return strings.Join(out, ", ")
}
