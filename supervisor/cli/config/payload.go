package config

import (
	"encoding/json"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Bounds of a payload: aliases may refer to each other and multiply.
const (
	maxPayload = maxConfig
	maxDepth   = 100
)

// jsonNumber matches the numbers of JSON.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$`)

// payloadField returns a field that converts any YAML value to JSON. What JSON can write as
// the file does is kept to the letter: all digits of a number, the order of keys, a date as
// a text. The field reports what JSON cannot write so, each with its line.
func (s *section) payloadField(what string, to *any) field {
	return func(n *yaml.Node) string {
		p := &payload{section: s, what: what + ".payload"}
		p.write(n, 0)
		if *to = json.RawMessage(p.text); len(p.text) > maxPayload {
			p.problemf(n, "it is larger than %d bytes", maxPayload)
		}
		return ""
	}
}

// payload is the JSON of a YAML value.
type payload struct {
	section *section
	what    string
	text    []byte
}

func (p *payload) problemf(n *yaml.Node, format string, args ...any) {
	p.section.problemf(n.Line, p.what, "a value that JSON can hold is needed here: "+format, args...)
}

func (p *payload) write(n *yaml.Node, depth int) {
	switch {
	case len(p.text) > maxPayload: // the caller reports it
	case depth > maxDepth:
		p.problemf(n, "it is deeper than %d levels", maxDepth)
		p.text = append(p.text, make([]byte, maxPayload)...) // ends the writing of a value that contains itself
	case n.Kind == yaml.SequenceNode:
		p.text = append(p.text, '[')
		for i, item := range n.Content {
			p.comma(i)
			p.write(item, depth+1)
		}
		p.text = append(p.text, ']')
	case n.Kind == yaml.MappingNode:
		p.mapping(n, depth)
	default:
		p.scalar(n)
	}
}

func (p *payload) comma(i int) {
	if i > 0 {
		p.text = append(p.text, ',')
	}
}

func (p *payload) mapping(n *yaml.Node, depth int) {
	seen := map[string]bool{}
	p.text = append(p.text, '{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag != textTag:
			p.problemf(key, "the key %q is no text: write it in quotes", key.Value)
		case key.Value == "<<" && key.Style == 0:
			p.problemf(key, "YAML 1.2 merges no mappings: write the keys out, or \"<<\" for a key of that name")
		case seen[key.Value]:
			p.problemf(key, "the key %q is there twice", key.Value)
		}
		seen[key.Value] = true
		p.comma(i)
		p.quote(key.Value)
		p.text = append(p.text, ':')
		p.write(n.Content[i+1], depth+1)
	}
	p.text = append(p.text, '}')
}

func (p *payload) scalar(n *yaml.Node) {
	switch n.Tag {
	case nullTag:
		p.text = append(p.text, "null"...)
	case boolTag:
		var value bool
		boolField(&value)(n)
		p.text = fmt.Append(p.text, value)
	case intTag, floatTag:
		if !jsonNumber.MatchString(n.Value) {
			p.problemf(n, "JSON has no number %s: write it as JSON does (no leading zero or +, no 0x), or in quotes as a text", n.Value)
		}
		p.text = append(p.text, n.Value...)
	default:
		p.quote(n.Value)
	}
}

func (p *payload) quote(text string) {
	quoted, _ := json.Marshal(text) // a string has no error
	p.text = append(p.text, quoted...)
}
