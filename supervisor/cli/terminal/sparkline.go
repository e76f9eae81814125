package terminal

import "strings"

// bars are the heights of a column of a sparkline, from the lowest.
var bars = []rune("▁▂▃▄▅▆▇█")

// Sparkline draws values as columns, one character each, the highest as high as the line. A column of a
// value that is not positive is a dot.
func Sparkline(values []float64) string {
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		if v <= 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(bars[min(int(v/most*float64(len(bars))), len(bars)-1)])
	}
	return b.String()
}
