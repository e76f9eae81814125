package queue

import "crypto/rand"

// A generated id is the random name of its producer and a serial number. Redis holds each
// id twice. Ids of up to 14 bytes fit into a smaller allocation, which reduces a queued
// task from 221 bytes to under 200.

const (
	digits62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	producerDigits = 10 // as random as 59 bits
)

// newProducer returns a random name for a producer.
func newProducer() string {
	name := make([]byte, 0, producerDigits)
	for len(name) < producerDigits {
		var b [1]byte
		_, _ = rand.Read(b[:])                   // it never fails
		if n := int(b[0]); n < 4*len(digits62) { // larger bytes are dropped, so that all digits are equally likely
			name = append(name, digits62[n%len(digits62)])
		}
	}
	return string(name)
}

// base62 formats a number, which must not be negative, in base 62 without leading zeros.
func base62(n int64) string {
	var text [11]byte // 63 bits need at most 11 digits
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

// IDs are ids that a producer generated with [Producer.DrawIDs].
type IDs struct { //nolint:recvcheck // From by a pointer would put the ids of each call on the heap
	producer string
	serial   int64 // of the last id returned
}

// DrawIDs returns n ids that no other task has. Ids beyond the n-th may belong to other tasks.
func (p *Producer) DrawIDs(n int) IDs { return IDs{p.name, p.serial.Add(int64(n)) - int64(n)} }

// From returns the ids without the first n.
func (i IDs) From(n int) IDs { return IDs{i.producer, i.serial + int64(n)} }

// Next returns the next id.
func (i *IDs) Next() string {
	i.serial++
	return i.producer + base62(i.serial)
}
