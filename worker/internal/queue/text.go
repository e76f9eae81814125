package queue

import (
	"strconv"
	"strings"
	"time"
)

// Time reads a time in milliseconds, as Redis holds it; what cannot be read is zero.
func Time(ms string) time.Time {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// Milliseconds returns a duration in milliseconds, rounded up: a delayed task never
// starts early.
func Milliseconds(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d%time.Millisecond > 0 { // adding a millisecond to d instead would overflow for the longest duration
		ms++
	}
	return ms
}

// Clip shortens a text that Redis keeps to most bytes, and marks the cut with ….
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
