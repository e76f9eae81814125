package link

import (
	"errors"
	"fmt"
	"strings"
)

// Layout is the version of the data that this program keeps on Redis: its keys, records
// and their meaning for the scripts. Every change raises it whose data a program of the
// previous version could not read or would damage. The data of a namespace has one layout,
// kept at [Keys.Layout]; a namespace without that key has layout 1.
//
// Layout 2: large payloads have keys of their own, a record's time is in base 16, and the time
// until which the record of a done task is kept is in the record.
const Layout = 2

// LayoutMin is the oldest layout whose data this program can take over: the first node of
// this program raises the namespace to [Layout], once no node of an older version lives.
const LayoutMin = 1

// ErrLayout is the error that every [LayoutError] wraps.
var ErrLayout = errors.New("the layout on Redis does not fit this program")

// LayoutError says why a program must not work in a namespace: the namespace's data has a
// layout that the program does not know, or may not raise yet.
type LayoutError struct {
	Namespace string
	Found     int      // the layout of the data
	Min, Max  int      // the program takes over layouts from Min on, and writes Max
	Older     []string // live nodes of an older version, which forbid to raise the layout
}

// Error implements error. The text says what to do.
func (e *LayoutError) Error() string {
	text := fmt.Sprintf("the namespace %q on Redis has layout %d, this program ", e.Namespace, e.Found)
	switch {
	case e.Found > e.Max:
		return text + fmt.Sprintf("knows layouts up to %d: run a newer version of it, or use another namespace", e.Max)
	case e.Found < e.Min:
		return text + fmt.Sprintf(
			"takes over layouts from %d on: first run a version in between, which raises it, or use another namespace", e.Min)
	case len(e.Older) > 0:
		return text + fmt.Sprintf("would raise it to %d while nodes of an older version live (%s): stop them first, or run their version",
			e.Max, strings.Join(e.Older, ", "))
	default:
		return text + fmt.Sprintf(
			"writes layout %d: start a node of this version first, which raises it, or use a program of the older version", e.Max)
	}
}

// Unwrap returns [ErrLayout].
func (e *LayoutError) Unwrap() error { return ErrLayout }

// RedisError implements redis.Error: Redis has answered, so the command ran (see
// [OutcomeOf]).
func (e *LayoutError) RedisError() {}
