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
	if d%time.Millisecond > 0 { // added before, it would turn the longest duration into the past
		ms++
	}
	return ms
}

// Clip bounds a text that is kept in Redis to that many bytes.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
