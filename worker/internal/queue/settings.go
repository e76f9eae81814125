package queue

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits are the limits of a queue over the whole cluster; 0 means no limit.
type Limits struct {
	Concurrency int
	Tasks       int
	Bytes       int64
	PerGroup    int
	Strict      bool
	Rate        Rate
	GroupRate   Rate
}

// String returns the limits as the scripts read them, see places.lua.
func (l Limits) String() string {
	return fmt.Sprintf("%d|%d|%d|%d|%s|%s|%s", l.Concurrency, l.Tasks, l.Bytes, l.PerGroup, flagOf(l.Strict), l.Rate, l.GroupRate)
}

// Rate is so many tasks in a time, and how many of them may begin at once. The zero value is none.
type Rate struct {
	Tasks int
	Per   time.Duration // in whole microseconds
	Burst int
}

// String returns the rate as the scripts read it: tasks/µs/burst, empty for none.
func (r Rate) String() string {
	if r.Tasks == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d/%d", r.Tasks, r.Per.Microseconds(), r.Burst)
}

// parseRate parses what [Rate.String] returns; a rate that cannot be read is none.
func parseRate(text string) (r Rate) {
	var us int64
	if _, err := fmt.Sscanf(text, "%d/%d/%d", &r.Tasks, &us, &r.Burst); err != nil {
		return Rate{}
	}
	r.Per = time.Duration(us) * time.Microsecond
	return r
}

// Settings are the settings of a queue that are in effect.
type Settings struct {
	Paused bool
	Limits Limits
}

// ParseSettings parses settings as Redis holds them; a setting that cannot be read is zero.
// Older programs write the first four alone.
func ParseSettings(text string) Settings {
	var s Settings
	f := strings.Split(text, "|")
	if len(f) != 4 && len(f) != 9 {
		return s
	}
	s.Paused = f[0] != ""
	s.Limits.Concurrency, _ = strconv.Atoi(f[1])
	s.Limits.Tasks, _ = strconv.Atoi(f[2])
	s.Limits.Bytes, _ = strconv.ParseInt(f[3], 10, 64)
	if len(f) == 9 {
		s.Limits.PerGroup, _ = strconv.Atoi(f[4])
		s.Limits.Strict = f[5] != ""
		s.Limits.Rate, s.Limits.GroupRate = parseRate(f[6]), parseRate(f[7])
	}
	return s
}
