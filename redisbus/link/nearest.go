package link

import "strings"

// Nearest returns the known word with the smallest edit distance from word, or "" if
// that distance exceeds a third of the longer word's length.
func Nearest(word string, known []string) string {
	best, least := "", len(word)
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least && 3*d <= max(len(word), len(k)) {
			best, least = k, d
		}
	}
	return best
}

// distance returns the edit distance between a and b in bytes. Swapping two neighbours
// counts as one edit (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
