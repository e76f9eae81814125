package link

import (
	"fmt"
	"strings"
)

// Count returns a number with its noun for people: "1 task", "2 tasks", "0 entries". A plural
// that does not follow from the singular is given as well.
func Count[N int | int64 | uint64](n N, one string, many ...string) string {
	switch stem, y := strings.CutSuffix(one, "y"); {
	case n == 1:
	case len(many) > 0:
		one = many[0]
	case y && !strings.HasSuffix(stem, "e"): // keys
		one = stem + "ies"
	case strings.HasSuffix(one, "sh"):
		one += "es"
	default:
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}
