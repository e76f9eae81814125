package tasks

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
