package config

import (
	"fmt"
	"strconv"
	"strings"
)

// units of a size in bytes.
var units = []struct {
	name   string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

// ParseSize parses a number of bytes, with KiB, MiB or GiB or without a unit. It returns
// an error if the text is no such size or the size is negative or larger than 1 PiB.
func ParseSize(text string) (int64, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > 1<<50/u.factor {
			break
		}
		return n * u.factor, nil
	}
	return 0, fmt.Errorf("%q is not a size such as 65536, 64KiB or 1GiB", text)
}
