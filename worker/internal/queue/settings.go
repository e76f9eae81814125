package queue

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits are the limits of a queue over the whole cluster; 0 means no limit.
type Limits struct {
	Concurrency int
	Tasks       int
	Bytes       int64
}

// String returns the limits as the scripts read them: concurrency|tasks|bytes.
func (l Limits) String() string { return fmt.Sprintf("%d|%d|%d", l.Concurrency, l.Tasks, l.Bytes) }

// Settings are the settings of a queue that are in effect.
type Settings struct {
	Paused bool
	Limits Limits
}

// ParseSettings parses settings as Redis holds them; a setting that cannot be read is zero.
func ParseSettings(text string) Settings {
	var s Settings
	f := strings.Split(text, "|")
	if len(f) != 4 {
		return s
	}
	s.Paused = f[0] != ""
	s.Limits.Concurrency, _ = strconv.Atoi(f[1])
	s.Limits.Tasks, _ = strconv.Atoi(f[2])
	s.Limits.Bytes, _ = strconv.ParseInt(f[3], 10, 64)
	return s
}
