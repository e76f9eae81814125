package queue

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Latest is the latest time that can be stored. Later times have no representation in JSON.
func Latest() time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }

// Time reads a time in milliseconds, as Redis holds it; what cannot be read is zero.
func Time(ms string) time.Time {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return TimeOf(n)
}

// TimeOf returns a time in milliseconds as a time that can be shown: from 1970 to
// [Latest], whatever another program stored.
func TimeOf(ms int64) time.Time {
	latest := Latest()
	t := time.UnixMilli(min(max(ms, 0), latest.UnixMilli()))
	if t.Year() > latest.Year() { // in the local zone
		t = t.UTC()
	}
	return t
}

// Until returns a time in milliseconds since 1970, rounded up: a delayed task never
// starts early. A time before 1970 is 1970.
func Until(t time.Time) int64 {
	if t.Before(time.UnixMilli(0)) {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

// Duration returns milliseconds as a duration, at most the longest one.
func Duration(ms int64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// Milliseconds returns a duration in milliseconds, rounded up: a delayed task never
// starts early, and what is set is never 0, which stands for what is not set.
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
