package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"
	"go.yaml.in/yaml/v3"
)

// configFile is the configuration file: a YAML mapping whose keys are the names
// of flags, and the tasks and periodic tasks.
type configFile struct {
	path            string
	values          map[string]fileValue // by flag
	tasks, periodic *yaml.Node           // nil where there are none
}

type fileValue struct {
	text  string // as the flag takes it
	where string // file, line and key, for errors
	at    string // file and line
}

// maxConfig is the largest file that is taken for a configuration.
const maxConfig = 1 << 20

// parse returns the mapping that the file is; an empty one when there is nothing
// in it but comments.
func parse(path string) (*yaml.Node, error) {
	text, err := readSmall(path, maxConfig)
	if err != nil {
		return nil, configf("configuration file %s: %w", path, err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err = decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{}, nil
	}
	if err != nil {
		return nil, configf("configuration file %s: %w", path, err)
	}
	if decoder.Decode(&yaml.Node{}) != io.EOF { //nolint:errorlint // the decoder returns it as it is
		return nil, configf("configuration file %s: there is more than one document", path)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, configf("configuration file %s: it must be a list of settings such as \"workers: 4\"", path)
	}
	return root, nil
}

// read reads the file. keys maps what may stand in it to its flag. The error
// reports everything that is wrong.
func (f *configFile) read(path string, keys map[string]string, flags map[string]urfave.Flag) error {
	f.path = path
	root, err := parse(path)
	if err != nil {
		return err
	}
	f.values = map[string]fileValue{}
	s := &section{path: path}
	known := append(slices.Collect(maps.Keys(keys)), tasksKey, periodicKey)
	slices.Sort(known)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		flag, ok := keys[key.Value]
		_, twice := f.values[flag]
		switch {
		case key.Value == tasksKey && f.tasks == nil:
			f.tasks = node
		case key.Value == periodicKey && f.periodic == nil:
			f.periodic = node
		case twice || key.Value == tasksKey || key.Value == periodicKey:
			s.problemf(key.Line, key.Value, "it was set before in the same file")
		case !ok:
			s.problemf(key.Line, key.Value, "%s", unknownKey(key.Value, known))
		default:
			value, err := scalar(node, flags[flag])
			if err != nil {
				s.problemf(key.Line, key.Value, "%w", err)
			}
			at := fmt.Sprintf("%s:%d", path, key.Line)
			f.values[flag] = fileValue{value, at + ": " + key.Value, at}
		}
	}
	return s.err()
}

// scalar returns a value as the flag takes it on the command line.
func scalar(node *yaml.Node, flag urfave.Flag) (string, error) {
	kind := "string"
	if typed, ok := flag.(urfave.SchemaTyper); ok {
		kind = typed.SchemaType()
	}
	misfit := fmt.Errorf("%s is needed here", wants(kind))
	if kind == array && node.Kind == yaml.SequenceNode {
		var texts []string
		if err := node.Decode(&texts); err != nil {
			return "", misfit
		}
		return strings.Join(texts, ","), nil
	}
	tag := map[string]string{integer: "!!int", boolean: "!!bool"}[kind]
	if tag == "" {
		tag = "!!str"
	}
	if node.Kind != yaml.ScalarNode || node.Tag != tag {
		return "", misfit
	}
	if kind == duration {
		if _, err := time.ParseDuration(node.Value); err != nil {
			return "", misfit
		}
	}
	if kind == integer {
		var n int
		if err := node.Decode(&n); err != nil {
			return "", misfit
		}
		return strconv.Itoa(n), nil
	}
	return node.Value, nil
}

// readSmall reads a regular file of at most so many bytes. Errors do not repeat
// the path.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if info.IsDir() {
		return nil, errors.New("it is a directory")
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("it is larger than %d bytes", limit)
	}
	return text, nil
}

func withoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
