package queue

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of a queue over the whole cluster; 0 is none.
type Limits struct {
	Concurrency int
	Tasks       int
	Bytes       int64
}

// String is how the scripts read limits.
func (l Limits) String() string { return fmt.Sprintf("%d|%d|%d", l.Concurrency, l.Tasks, l.Bytes) }

// Settings are the settings of a queue that are in effect.
type Settings struct {
	Paused bool
	Limits Limits
}

// ParseSettings reads settings as Redis holds them; what cannot be read is zero.
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
