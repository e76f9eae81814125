package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"
)

// Rank is the precedence of a source of values: the value of the highest rank wins.
type Rank int

// Ranks, lowest first.
const (
	FromDefault Rank = iota
	FromFile
	FromEnvironment
	FromFlag
)

// String returns the rank as "config show" names it.
func (r Rank) String() string {
	return [...]string{FromDefault: "default", FromFile: "file", FromEnvironment: "environment", FromFlag: "flag"}[r]
}

// Origin is where the value of a flag came from.
type Origin struct {
	Rank  Rank
	Where string // the place in error messages: as At, for a file also the key
	At    string // the flag, the variable, or the file and line; empty for a default
}

// Input looks up flags that are not on the command line: in the environment, then in
// the configuration file. It records the origin of each value, and which values are of
// another type than their flags: those are errors only if the command uses them.
type Input struct {
	lookup  func(string) (string, bool)
	path    *string                // path of the configuration file; set before the file is first read
	known   map[string]urfave.Flag // flags of all commands, by name
	own     map[string]urfave.Flag // flags of the command that runs, by name
	ordered []urfave.Flag          // flags of the command that runs, in the order of their declaration
	inFile  map[string]string      // key that the file may have → name of its flag
	file    *file
	origins map[string]Origin
	wrong   map[string]error // by flag: its value is of another type, and the default holds
}

func newInput(lookup func(string) (string, bool), path *string) *Input {
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	return &Input{
		lookup: lookup, path: path,
		known: map[string]urfave.Flag{}, own: map[string]urfave.Flag{}, inFile: map[string]string{}, origins: map[string]Origin{},
		wrong: map[string]error{},
	}
}

// Env returns the value of an environment variable and whether it is set.
func (in *Input) Env(variable string) (value string, set bool) { return in.lookup(variable) }

// declare registers flags, so that their values can be checked. The configuration file
// may use any alias of a flag that has the file as a source.
func (in *Input) declare(flags []urfave.Flag) {
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
}

// from returns the sources of a flag: the environment variables, then the configuration
// file.
func (in *Input) from(flag string, variables ...string) urfave.ValueSourceChain {
	chain := in.fromEnv(flag, variables...)
	in.inFile[flag] = flag
	chain.Chain = append(chain.Chain, &fileSource{in, flag})
	return chain
}

// fromEnv returns the sources of a flag that the configuration file cannot set: the
// environment variables only.
func (in *Input) fromEnv(flag string, variables ...string) urfave.ValueSourceChain {
	var chain urfave.ValueSourceChain
	for _, v := range variables {
		chain.Chain = append(chain.Chain, &envSource{in: in, flag: flag, variable: v})
	}
	return chain
}

// Use records the flags of the command that runs.
func (in *Input) Use(flags []urfave.Flag) {
	in.ordered = flags
	for _, f := range flags {
		in.own[f.Names()[0]] = f
	}
}

// check returns the errors of the configuration file, which it reads if no flag has caused
// that yet, and of the values that are of another type than their flags.
func (in *Input) check(used func(flag string) bool) error {
	errs := []error{in.open().err}
	for _, f := range in.ordered {
		if name := f.Names()[0]; used(name) {
			errs = append(errs, in.wrong[name])
		}
	}
	return errors.Join(errs...)
}

func (in *Input) open() *file {
	if in.file == nil {
		in.file = &file{}
		if *in.path != "" {
			in.file.err = in.file.read(*in.path, in.inFile, in.known)
		}
	}
	return in.file
}

// Flags returns the flags of the command that runs, in the order of their declaration.
func (in *Input) Flags() []urfave.Flag { return in.ordered }

// Origin returns where the flag's value came from.
func (in *Input) Origin(flag string) Origin {
	if o, ok := in.origins[flag]; ok {
		return o
	}
	if f := in.own[flag]; f != nil && f.IsSet() {
		return Origin{FromFlag, "--" + flag, "--" + flag}
	}
	return Origin{Rank: FromDefault, Where: "--" + flag}
}

// Given reports whether the flag was set on the command line, in the environment or
// in the configuration file, even to its default value.
func (in *Input) Given(flag string) bool { return in.Origin(flag).Rank != FromDefault }

// Problemf returns an error about a flag's value, prefixed with the value's origin. It
// is an [ErrInvalid] for a value of the configuration file and an [ErrUsage] otherwise.
func (in *Input) Problemf(flag, format string, args ...any) error {
	o := in.Origin(flag)
	kind := ErrUsage
	if o.Rank == FromFile {
		kind = ErrInvalid
	}
	return As(kind, fmt.Errorf("%s: "+format, append([]any{o.Where}, args...)...))
}

// record stores the origin of a flag's value, and the error if the value is of another
// type; then no source of a lower rank is asked.
func (in *Input) record(flag, value string, o Origin, wrong error) (string, bool) {
	in.origins[flag] = o
	if wrong != nil {
		in.wrong[flag] = wrong
		return "", false
	}
	return value, true
}

// Types of flags other than text, as the flag library's SchemaType names them.
const (
	integer  = "integer"
	boolean  = "boolean"
	duration = "duration"
	array    = "array"
)

// kindOf returns the type of a flag.
func kindOf(f urfave.Flag) string {
	if typed, ok := f.(urfave.SchemaTyper); ok {
		return typed.SchemaType()
	}
	return ""
}

// mismatch returns "" if the value is of the flag's type, and a description of that
// type otherwise.
func mismatch(f urfave.Flag, value string) string {
	var err error
	switch kindOf(f) {
	case integer:
		_, err = strconv.ParseInt(value, 10, strconv.IntSize)
	case boolean:
		_, err = strconv.ParseBool(value)
	case duration:
		_, err = time.ParseDuration(value)
	}
	if err == nil {
		return ""
	}
	return describe(kindOf(f))
}

// describe returns a phrase for error messages that describes the values of a type.
func describe(kind string) string {
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

// envSource looks up a flag's value in an environment variable. An empty variable
// counts as unset.
type envSource struct {
	in             *Input
	flag, variable string
}

func (s *envSource) Lookup() (string, bool) {
	value, ok := s.in.lookup(s.variable)
	if !ok || value == "" {
		return "", false
	}
	if _, err := strconv.Atoi(value); err == nil && s.variable == shutdownTimeout {
		value += "ms"
	}
	var wrong error
	if needed := mismatch(s.in.known[s.flag], value); needed != "" {
		wrong = Usagef("%s: %q is not %s", s.variable, value, s.explain(value, needed))
	}
	return s.in.record(s.flag, value, Origin{FromEnvironment, s.variable, s.variable}, wrong)
}

// explain adds to the description of the value that is needed what is particular to the
// variable.
func (s *envSource) explain(value, needed string) string {
	switch {
	case s.variable == shutdownTimeout:
		return "a number of milliseconds such as 20000, or " + strings.TrimPrefix(needed, "a ")
	case s.variable == redisPort && strings.Contains(value, "://"):
		return "a port: Kubernetes sets this variable in pods beside a service named redis. Set REDIS_URL, which wins over it, " +
			"or REDIS_PORT=6379; or have it not set: enableServiceLinks: false in the pod"
	default:
		return needed
	}
}

func (s *envSource) IsFromEnv() bool  { return true }
func (s *envSource) Key() string      { return s.variable }
func (s *envSource) String() string   { return "environment variable " + s.variable }
func (s *envSource) GoString() string { return s.String() }

// fileSource looks up a flag's value in the configuration file.
type fileSource struct {
	in   *Input
	flag string
}

func (s *fileSource) Lookup() (string, bool) {
	v, ok := s.in.open().values[s.flag]
	if !ok || s.in.wrong[s.flag] != nil {
		return "", false
	}
	return s.in.record(s.flag, v.text, Origin{FromFile, v.where, v.at}, v.wrong)
}

func (s *fileSource) String() string   { return "configuration file" }
func (s *fileSource) GoString() string { return s.String() }
