package config

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// YAML tags, which are the types of scalar values.
const (
	textTag  = "!!str"
	intTag   = "!!int"
	boolTag  = "!!bool"
	floatTag = "!!float"
	nullTag  = "!!null"
)

// coreSchema is the core schema of YAML 1.2, section 10.3.2: the type of a plain scalar
// follows from its text. A text that matches no line is a text: so are yes, 1_000,
// 2027-01-31 and <<, which the YAML library takes for other types, as YAML 1.1 did.
var coreSchema = []struct {
	tag  string
	text *regexp.Regexp
}{
	{nullTag, regexp.MustCompile(`^(null|Null|NULL|~|)$`)},
	{boolTag, regexp.MustCompile(`^(true|True|TRUE|false|False|FALSE)$`)},
	{intTag, regexp.MustCompile(`^([-+]?\d+|0o[0-7]+|0x[0-9a-fA-F]+)$`)},
	{floatTag, regexp.MustCompile(
		`^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)},
}

func coreTag(text string) string {
	for _, c := range coreSchema {
		if c.text.MatchString(text) {
			return c.tag
		}
	}
	return textTag
}

// resolve gives all scalars below the node the tags of the core schema, replaces aliases by
// what they stand for, and reports tags that are not of the schema.
func (s *section) resolve(n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		line := n.Line
		*n = *n.Alias // resolved before: an anchor precedes its aliases
		n.Line = line
		return
	}
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	switch {
	case n.Style&yaml.TaggedStyle != 0 && !fitsTag(n):
		s.problemf(n.Line, n.Tag, "this tag does not fit its value or is not of YAML's core schema: leave it out")
	case n.Kind != yaml.ScalarNode:
	case n.Style&yaml.TaggedStyle != 0:
		n.Tag = n.ShortTag()
	case n.Style&quoted != 0:
		n.Tag = textTag
	default:
		n.Tag = coreTag(n.Value)
	}
	for _, child := range n.Content {
		s.resolve(child)
	}
}

// fitsTag reports whether a node's explicit tag is of the core schema and fits its value.
func fitsTag(n *yaml.Node) bool {
	tag := n.ShortTag()
	switch n.Kind {
	case yaml.MappingNode:
		return tag == "!!map"
	case yaml.SequenceNode:
		return tag == "!!seq"
	default:
		core := coreTag(n.Value)
		return tag == textTag || tag == core || tag == floatTag && core == intTag
	}
}

// syntaxError returns the YAML library's error about the text with the line of what it is
// about. The library leaves out the line where it is the first or not known to it.
func (s *section) syntaxError(err error, text []byte) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := syntaxLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	} else if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		line = lineAt(text, bytes.Index(text, []byte("*"+m[1])))
	} else if strings.Contains(message, "control characters") || strings.Contains(message, "UTF-8") {
		line = lineAt(text, bytes.IndexFunc(text, unreadable))
	}
	return Invalidf("configuration file %s: %s", s.at(line), message)
}

var (
	syntaxLine    = regexp.MustCompile(`^line (\d+): (.*)`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// lineAt returns the line of the byte at that index, 1 for a negative one.
func lineAt(text []byte, index int) int { return 1 + bytes.Count(text[:max(index, 0)], []byte("\n")) }

// unreadable reports whether YAML forbids the character, or it is no UTF-8.
func unreadable(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r)
}

// wholeOf returns the value of a scalar with the tag !!int; ok is false if it exceeds an int.
func wholeOf(n *yaml.Node) (value int, ok bool) {
	text, base := n.Value, 10
	for prefix, other := range map[string]int{"0o": 8, "0x": 16} {
		if digits, has := strings.CutPrefix(text, prefix); has {
			text, base = digits, other
		}
	}
	v, err := strconv.ParseInt(text, base, strconv.IntSize)
	return int(v), err == nil
}

// isText reports whether the value can be taken as a text, as it is written in the file.
func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag != nullTag }

// listOf returns the items of a list of scalars, as they are written in the file; ok is
// false for any other value.
func listOf(n *yaml.Node) (texts []string, ok bool) {
	for _, item := range n.Content {
		if !isText(item) {
			return nil, false
		}
		texts = append(texts, item.Value)
	}
	return texts, n.Kind == yaml.SequenceNode
}
