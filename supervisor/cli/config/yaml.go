package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// section reads a part of the configuration file and collects the problems found. It
// replaces the checks of the YAML library, whose errors name Go types and suggest
// nothing.
type section struct {
	path     string // of the file
	problems []problem
}

type problem struct {
	line int
	err  error
}

// at returns the path and the line as FILE:LINE, for messages.
func (s *section) at(line int) string { return fmt.Sprintf("%s:%d", s.path, line) }

func (s *section) problemf(line int, what, format string, args ...any) {
	s.problems = append(s.problems, problem{line, Invalidf("%s: %s: "+format, append([]any{s.at(line), what}, args...)...)})
}

// err returns all problems joined into one error, ordered by line.
func (s *section) err() error {
	slices.SortStableFunc(s.problems, func(a, b problem) int { return a.line - b.line })
	errs := make([]error, len(s.problems))
	for i, p := range s.problems {
		errs[i] = p.err
	}
	return errors.Join(errs...)
}

// entries calls read for each entry of a mapping. It reports a repeated key and skips
// the repetition.
func (s *section) entries(what string, node *yaml.Node, read func(key, value *yaml.Node)) {
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
		read(key, node.Content[i+1])
	}
}

// field reads the value of a key. It returns "", or a description of the value that is
// needed instead.
type field func(*yaml.Node) (needed string)

// fields reads a mapping with the function that known has for each key, and reports
// unknown keys. It returns the line of each key.
func (s *section) fields(what string, node *yaml.Node, known map[string]field) map[string]int {
	lines := map[string]int{}
	s.entries(what, node, func(key, value *yaml.Node) {
		lines[key.Value] = key.Line
		name := what + "." + key.Value
		read, ok := known[key.Value]
		if !ok {
			s.problemf(key.Line, name, "%s", unknownKey(key.Value, slices.Sorted(maps.Keys(known))))
			return
		}
		if needed := read(value); needed != "" {
			s.problemf(key.Line, name, "%s is needed here", needed)
		}
	})
	return lines
}

// scalarField returns a field that accepts scalars of the YAML type tag whose text parse
// accepts.
func scalarField[T any](to *T, tag, needed string, parse func(*yaml.Node) (T, bool)) field {
	return func(n *yaml.Node) string {
		if n.Kind != yaml.ScalarNode || n.Tag != tag {
			return needed
		}
		v, ok := parse(n)
		if !ok {
			return needed
		}
		*to = v
		return ""
	}
}

func textField(to *string) field {
	return scalarField(to, textTag, describe(""), func(n *yaml.Node) (string, bool) { return n.Value, n.Value != "" })
}

func boolField(to *bool) field {
	return scalarField(to, boolTag, describe(boolean), func(n *yaml.Node) (bool, bool) {
		return strings.EqualFold(n.Value, "true"), true
	})
}

func countField(to *int) field {
	return scalarField(to, intTag, "a whole number of at least 1", func(n *yaml.Node) (int, bool) {
		v, ok := wholeOf(n)
		return v, ok && v >= 1
	})
}

func durationField(to *time.Duration) field {
	return scalarField(to, textTag, describe(duration), func(n *yaml.Node) (time.Duration, bool) {
		v, err := time.ParseDuration(n.Value)
		return v, err == nil && v >= time.Millisecond
	})
}

// sizeField returns a field that reads a number of bytes. It stores 0 as -1, because
// the zero value would stand for the default.
func sizeField(to *int) field {
	return func(n *yaml.Node) string {
		size, err := ParseSize(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || size > maxSize {
			return "a size such as 65536, 64KiB or 1MiB"
		}
		if *to = int(size); size == 0 {
			*to = -1
		}
		return ""
	}
}

const maxSize = 1 << 30

func listField(to *[]string) field {
	return func(n *yaml.Node) string {
		var ok bool
		if *to, ok = listOf(n); !ok || len(*to) == 0 {
			return "a list such as [program, argument]"
		}
		return ""
	}
}

// mapField returns a field that reads a mapping of names to texts. A number or a
// boolean becomes the text as written in the file.
func mapField(to map[string]string) field {
	return func(n *yaml.Node) string {
		const needed = "a mapping of names to texts, each name once,"
		if n.Kind != yaml.MappingNode {
			return needed
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name, text := n.Content[i].Value, n.Content[i+1]
			if _, twice := to[name]; twice || !isText(text) {
				return needed
			}
			to[name] = text.Value
		}
		return ""
	}
}

// unknownKey returns the error text for an unknown key, which suggests the most similar
// known key.
func unknownKey(key string, known []string) string { return "unknown key: " + Choose(key, known) }
