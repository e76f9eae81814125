package queue

import "crypto/rand"

// An id that a client draws is the name of its producer, which no other has, and
// a serial number. Redis holds each id twice; up to 14 bytes fit into a smaller
// allocation than more, and bring a queued task from 221 bytes to under 200.

const (
	digits62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	producerDigits = 10 // as random as 59 bits
)

// newProducer draws the name of a producer.
func newProducer() string {
	name := make([]byte, 0, producerDigits)
	for len(name) < producerDigits {
		var b [1]byte
		_, _ = rand.Read(b[:])                   // it never fails
		if n := int(b[0]); n < 4*len(digits62) { // so that all digits are as likely
			name = append(name, digits62[n%len(digits62)])
		}
	}
	return string(name)
}

// base62 writes a number, which is not negative, in as few letters and digits as
// there are.
func base62(n int64) string {
	var text [11]byte // as many as 63 bits need
	at := len(text)
	for {
		at--
		text[at] = digits62[n%int64(len(digits62))]
		n /= int64(len(digits62))
		if n == 0 {
			return string(text[at:])
		}
	}
}

// IDs are ids that a producer has drawn.
type IDs struct { //nolint:recvcheck // From by a pointer would put the ids of each call on the heap
	producer string
	serial   int64 // of the last one
}

// DrawIDs returns n ids that no other task has. More than that may be somebody else's.
func (p *Producer) DrawIDs(n int) IDs { return IDs{p.name, p.serial.Add(int64(n)) - int64(n)} }

// From returns the ids without the first n.
func (i IDs) From(n int) IDs { return IDs{i.producer, i.serial + int64(n)} }

// Next returns the next id.
func (i *IDs) Next() string {
	i.serial++
	return i.producer + base62(i.serial)
}
