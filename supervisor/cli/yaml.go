package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// section reads a part of the configuration file and collects what is wrong with it.
type section struct {
	path     string // of the file
	problems []problem
}

type problem struct {
	line int
	err  error
}

func (s *section) problemf(line int, what, format string, args ...any) {
	s.problems = append(s.problems, problem{line, configf("%s:%d: %s: "+format, append([]any{s.path, line, what}, args...)...)})
}

// err returns everything that was wrong, by line.
func (s *section) err() error {
	slices.SortStableFunc(s.problems, func(a, b problem) int { return a.line - b.line })
	errs := make([]error, len(s.problems))
	for i, p := range s.problems {
		errs[i] = p.err
	}
	return errors.Join(errs...)
}

// entries calls take with each key of a mapping, and reports one that is there twice.
func (s *section) entries(what string, node *yaml.Node, take func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		s.problemf(node.Line, what, "names and their settings are needed here")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if seen[key.Value] {
			s.problemf(key.Line, what+"."+key.Value, "it was set before in the same file")
			continue
		}
		seen[key.Value] = true
		take(key, node.Content[i+1])
	}
}

// field takes the value of a key, and says what is needed there if it is something else.
type field func(*yaml.Node) (needed string)

// fields reads a mapping with known keys. It returns the line of each.
func (s *section) fields(what string, node *yaml.Node, known map[string]field) map[string]int {
	lines := map[string]int{}
	s.entries(what, node, func(key, value *yaml.Node) {
		lines[key.Value] = key.Line
		name := what + "." + key.Value
		take, ok := known[key.Value]
		if !ok {
			s.problemf(key.Line, name, "%s", unknownKey(key.Value, slices.Sorted(maps.Keys(known))))
			return
		}
		if needed := take(value); needed != "" {
			s.problemf(key.Line, name, "%s is needed here", needed)
		}
	})
	return lines
}

func textField(to *string) field {
	return func(n *yaml.Node) string {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "" {
			return wants("")
		}
		*to = n.Value
		return ""
	}
}

func boolField(to *bool) field {
	return func(n *yaml.Node) string {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(to) != nil {
			return wants(boolean)
		}
		return ""
	}
}

func countField(to *int) field {
	return func(n *yaml.Node) string {
		if n.Tag != "!!int" || n.Decode(to) != nil || *to < 1 {
			return "a whole number of at least 1"
		}
		return ""
	}
}

func durationField(to *time.Duration) field {
	return func(n *yaml.Node) string {
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || d < time.Millisecond {
			return wants(duration)
		}
		*to = d
		return ""
	}
}

// sizeField takes a number of bytes; 0 becomes -1, none.
func sizeField(to *int) field {
	return func(n *yaml.Node) string {
		text, factor := n.Value, 1
		for unit, f := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
			if number, ok := strings.CutSuffix(text, unit); ok {
				text, factor = strings.TrimSpace(number), f
			}
		}
		size, err := strconv.Atoi(text)
		if n.Kind != yaml.ScalarNode || err != nil || size < 0 || size > maxSize/factor {
			return "a size such as 65536, 64KiB or 1MiB"
		}
		if *to = size * factor; size == 0 {
			*to = -1
		}
		return ""
	}
}

const maxSize = 1 << 30

func listField(to *[]string) field {
	return func(n *yaml.Node) string {
		if n.Kind != yaml.SequenceNode || n.Decode(to) != nil || len(*to) == 0 {
			return "a list such as [program, argument]"
		}
		return ""
	}
}

// mapField takes texts by name. A number or a truth value is the text that was written.
func mapField(to map[string]string) field {
	return func(n *yaml.Node) string {
		const needed = "a mapping of names to texts, each name once,"
		if n.Kind != yaml.MappingNode {
			return needed
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if _, twice := to[key.Value]; twice || value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
				return needed
			}
			to[key.Value] = value.Value
		}
		return ""
	}
}

// unknownKey says what could have been meant.
func unknownKey(key string, known []string) string {
	text := "unknown key"
	if like := nearest(key, known); like != "" {
		text += fmt.Sprintf(": did you mean %s?", like)
	}
	return text + "; the keys are " + strings.Join(known, ", ")
}

// nearest returns the word that differs least, if that is by little: at most a
// third of its letters.
func nearest(word string, known []string) string {
	best, least := "", len(word)
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least && 3*d <= max(len(word), len(k)) {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters have to be put in, left out, replaced or swapped
// with their neighbour to make b of a.
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
