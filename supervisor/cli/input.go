package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v3"
)

// rank orders where a value can come from: the higher wins.
type rank int

const (
	fromDefault rank = iota
	fromFile
	fromEnvironment
	fromFlag
)

// String is the rank as config show names it.
func (r rank) String() string {
	return [...]string{fromDefault: "default", fromFile: "file", fromEnvironment: "environment", fromFlag: "flag"}[r]
}

// origin is where the value of a flag came from.
type origin struct {
	rank  rank
	where string // as errors name it
	at    string // the flag, the variable, or the file and line
}

// input finds the values of flags that are not on the command line: in the
// environment, then in the configuration file. It notes where each came from and
// what was wrong with it.
type input struct {
	env     func(string) (string, bool)
	path    *string                // of the configuration file; set before the first look into it
	known   map[string]urfave.Flag // of all commands
	own     map[string]urfave.Flag // of the command that runs
	ordered []urfave.Flag          // the same, in the order of their declaration
	inFile  map[string]string      // a key that the file may have → its flag
	file    *configFile
	origins map[string]origin
	errs    []error
}

func newInput(env func(string) (string, bool), path *string) *input {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	return &input{
		env: env, path: path,
		known: map[string]urfave.Flag{}, own: map[string]urfave.Flag{}, inFile: map[string]string{}, origins: map[string]origin{},
	}
}

// declare makes flags known. Those with a file source may stand in the
// configuration file under any of their names.
func (in *input) declare(flags ...urfave.Flag) []urfave.Flag {
	for _, f := range flags {
		name := f.Names()[0]
		in.known[name] = f
		if in.inFile[name] != name {
			continue
		}
		for _, alias := range f.Names() {
			in.inFile[alias] = name
		}
	}
	return flags
}

// from is the sources of a flag that the environment and the file may set.
func (in *input) from(flag string, variables ...string) urfave.ValueSourceChain {
	chain := in.fromEnv(flag, variables...)
	in.inFile[flag] = flag
	chain.Chain = append(chain.Chain, &fileSource{in, flag})
	return chain
}

// fromEnv is the sources of a flag that the environment may set, but not the file.
func (in *input) fromEnv(flag string, variables ...string) urfave.ValueSourceChain {
	var chain urfave.ValueSourceChain
	for _, v := range variables {
		chain.Chain = append(chain.Chain, &envSource{in: in, flag: flag, variable: v})
	}
	return chain
}

// use says which command runs.
func (in *input) use(flags []urfave.Flag) {
	in.ordered = flags
	for _, f := range flags {
		in.own[f.Names()[0]] = f
	}
}

// check loads the file, also where no flag had to look into it, and returns
// everything that was wrong.
func (in *input) check() error {
	in.open()
	return errors.Join(in.errs...)
}

func (in *input) open() *configFile {
	if in.file == nil {
		in.file = &configFile{}
		if *in.path != "" {
			if err := in.file.read(*in.path, in.inFile, in.known); err != nil {
				in.errs = append(in.errs, err)
			}
		}
	}
	return in.file
}

// origin is where the flag's value came from.
func (in *input) origin(flag string) origin {
	if o, ok := in.origins[flag]; ok {
		return o
	}
	if f := in.own[flag]; f != nil && f.IsSet() {
		return origin{fromFlag, "--" + flag, "--" + flag}
	}
	return origin{rank: fromDefault, where: "--" + flag}
}

// problem is an error about a flag's value that says where it came from.
func (in *input) problem(flag, format string, args ...any) error {
	o := in.origin(flag)
	err := fmt.Errorf("%s: "+format, append([]any{o.where}, args...)...)
	if o.rank == fromFile {
		return &kindError{errConfig, err}
	}
	return &kindError{errUsage, err}
}

// take notes where a value came from if it is one that the flag can have.
func (in *input) take(flag, value string, o origin) (string, bool) {
	if wanted := misfit(in.known[flag], value); wanted != "" {
		in.errs = append(in.errs, usagef("%s: %q is not %s", o.where, value, wanted))
		return "", false
	}
	in.origins[flag] = o
	return value, true
}

// Types of flags that are not just text, as the library names them.
const (
	integer  = "integer"
	boolean  = "boolean"
	duration = "duration"
	array    = "array"
)

// misfit says what the flag wants if the value is something else.
func misfit(f urfave.Flag, value string) string {
	typed, ok := f.(urfave.SchemaTyper)
	if !ok {
		return ""
	}
	var err error
	kind := typed.SchemaType()
	switch kind {
	case integer:
		_, err = strconv.ParseInt(value, 0, strconv.IntSize)
	case boolean:
		_, err = strconv.ParseBool(value)
	case duration:
		_, err = time.ParseDuration(value)
	}
	if err == nil {
		return ""
	}
	return wants(kind)
}

// wants names a type of flags for people.
func wants(kind string) string {
	switch kind {
	case integer:
		return "a whole number"
	case boolean:
		return "true or false"
	case duration:
		return "a time such as 250ms, 20s or 1m30s"
	case array:
		return "a list of texts"
	default:
		return "a text"
	}
}

// envSource is one environment variable. An empty one is none.
type envSource struct {
	in             *input
	flag, variable string
}

func (s *envSource) Lookup() (string, bool) {
	value, ok := s.in.env(s.variable)
	if !ok || value == "" {
		return "", false
	}
	if s.variable == shutdownTimeout {
		if _, err := strconv.Atoi(value); err == nil {
			value += "ms"
		} else if _, err := time.ParseDuration(value); err != nil {
			s.in.errs = append(s.in.errs,
				usagef("%s: %q is neither a number of milliseconds such as 20000 nor a time such as 20s", s.variable, value))
			return "", false
		}
	}
	return s.in.take(s.flag, value, origin{fromEnvironment, s.variable, s.variable})
}

func (s *envSource) IsFromEnv() bool  { return true }
func (s *envSource) Key() string      { return s.variable }
func (s *envSource) String() string   { return "environment variable " + s.variable }
func (s *envSource) GoString() string { return s.String() }

// fileSource is one key of the configuration file.
type fileSource struct {
	in   *input
	flag string
}

func (s *fileSource) Lookup() (string, bool) {
	v, ok := s.in.open().values[s.flag]
	if !ok {
		return "", false
	}
	s.in.origins[s.flag] = origin{fromFile, v.where, v.at}
	return v.text, true
}

func (s *fileSource) String() string   { return "configuration file" }
func (s *fileSource) GoString() string { return s.String() }
