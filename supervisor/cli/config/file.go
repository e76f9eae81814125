package config

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"
	"go.yaml.in/yaml/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// file is the parsed configuration file: a YAML mapping whose keys are names of flags,
// "tasks" and "periodic".
type file struct {
	path            string
	values          map[string]fileValue // by flag
	tasks, periodic *yaml.Node           // nil where there are none
	err             error                // what is wrong with the file itself
}

type fileValue struct {
	text  string // as the flag takes it
	wrong error  // the value is of another type than the flag
	where string // file, line and key, for errors
	at    string // file and line
}

// maxConfig is the size of the largest configuration file, in bytes.
const maxConfig = 1 << 20

// parse returns the YAML mapping of the configuration file, read by the core schema. The
// mapping is empty if the file holds nothing but comments.
func parse(path string) (*yaml.Node, error) {
	text, err := readSmall(path, maxConfig)
	if err != nil {
		return nil, Invalidf("configuration file %s: %w", path, err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err = decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{}, nil
	}
	s := &section{path: path}
	if err != nil {
		return nil, s.syntaxError(err, text)
	}
	if decoder.Decode(&yaml.Node{}) != io.EOF { //nolint:errorlint // the decoder returns it as it is
		return nil, Invalidf("configuration file %s: there is more than one document", path)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, Invalidf("configuration file %s: it must consist of settings, each a name and its value, such as \"workers: 4\"",
			s.at(root.Line))
	}
	s.resolve(root)
	return root, s.err()
}

// read reads the configuration file. keys maps each permitted key to the name of its
// flag, flags each name to the flag. The error joins all problems found, except values of
// the wrong type, which are problems only if they are used.
func (f *file) read(path string, keys map[string]string, flags map[string]urfave.Flag) error {
	f.path = path
	root, err := parse(path)
	if err != nil {
		return err
	}
	f.values = map[string]fileValue{}
	s := &section{path: path}
	known := append(slices.Collect(maps.Keys(keys)), TasksKey, PeriodicKey)
	slices.Sort(known)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		flag, ok := keys[key.Value]
		_, twice := f.values[flag]
		switch {
		case key.Value == TasksKey && f.tasks == nil:
			f.tasks = node
		case key.Value == PeriodicKey && f.periodic == nil:
			f.periodic = node
		case twice || key.Value == TasksKey || key.Value == PeriodicKey:
			s.problemf(key.Line, key.Value, "it was set before in the same file")
		case !ok:
			s.problemf(key.Line, key.Value, "%s", unknownSetting(key.Value, known))
		default:
			at := s.at(key.Line)
			v := fileValue{where: at + ": " + key.Value, at: at}
			if v.text, ok = scalar(node, flags[flag]); !ok {
				v.wrong = Invalidf("%s: %s is needed here", v.where, describe(kindOf(flags[flag])))
			}
			f.values[flag] = v
		}
	}
	return s.err()
}

// scalar converts a YAML value to the text that the flag would be given on the command
// line; a list becomes comma-separated. ok is false if the value is of another type.
func scalar(node *yaml.Node, flag urfave.Flag) (text string, ok bool) {
	kind := kindOf(flag)
	if kind == array && node.Kind == yaml.SequenceNode {
		texts, ok := listOf(node)
		return strings.Join(texts, ","), ok
	}
	tag := cmp.Or(map[string]string{integer: intTag, boolean: boolTag}[kind], textTag)
	if node.Kind != yaml.ScalarNode || node.Tag != tag {
		return "", false
	}
	switch kind {
	case duration:
		_, err := time.ParseDuration(node.Value)
		return node.Value, err == nil
	case integer:
		n, ok := wholeOf(node)
		return strconv.Itoa(n), ok
	default:
		return node.Value, true
	}
}

// readSmall reads a regular file of at most limit bytes. It never waits: whoever writes into a
// pipe may never come. Its errors omit the path.
func readSmall(path string, limit int64) ([]byte, error) {
	text, err := link.ReadFile(path, limit)
	return text, service.WithoutPath(err)
}
