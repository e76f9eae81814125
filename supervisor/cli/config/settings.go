package config

import (
	"errors"
	"runtime"
	"slices"

	urfave "github.com/urfave/cli/v3"
)

// Settings holds the values of all flags. A command uses only the flags that it
// declares. Each embedded group has one file of this package with its flags, their
// checks and the configuration made from them.
type Settings struct {
	*Input
	set
	connection
	data
	compat
	logging
	daemon

	Path   string // path of the configuration file
	Output string // table or json
}

// New returns settings without values. env looks up an environment variable; a nil env
// stands for an empty environment.
func New(env func(name string) (value string, set bool)) *Settings {
	s := &Settings{}
	s.Input = newInput(env, &s.Path)
	return s
}

// Declare returns the flags of a command: --config, which all commands that have settings
// share, and the command's own. Flags look for their values in the order in which they are
// declared, and the path of the file has to be known by then: --config is the first.
func (s *Settings) Declare(own ...urfave.Flag) []urfave.Flag {
	flags := append([]urfave.Flag{&urfave.StringFlag{
		Name: "config", Destination: &s.Path, TakesFile: true, Sources: s.fromEnv("config", "STELLAR_CONFIG"),
		Usage: "`FILE` in YAML whose keys are the names of the flags of run; the environment and flags win over it",
	}}, own...)
	s.declare(flags)
	return flags
}

// RunFlags returns the flags of the command "run", and a command's own flags behind them.
// They include every flag that the configuration file may set.
func (s *Settings) RunFlags(own ...urfave.Flag) []urfave.Flag {
	return s.Declare(slices.Concat(
		s.SetFlags(runtime.GOMAXPROCS(0), "the number of CPUs"), s.nodeFlags(), s.serviceFlags(),
		s.ConnectFlags(), []urfave.Flag{s.DurabilityFlag()}, s.CacheFlags(), s.LogFlags("info"), own,
	)...)
}

// ClientFlags returns the flags of a command that talks to a running cluster: the
// command's own flags and the flags that all such commands share.
func (s *Settings) ClientFlags(own ...urfave.Flag) []urfave.Flag {
	return s.Declare(slices.Concat(own, []urfave.Flag{s.OutputFlag()}, s.ConnectFlags())...)
}

// OutputFlag returns the flag for the output format.
func (s *Settings) OutputFlag() *urfave.StringFlag {
	return &urfave.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: "table", Destination: &s.Output, Sources: s.fromEnv("output"),
		Usage: "`FORMAT` of the output: table, or json for scripts",
	}
}

// fileFlag returns a flag whose value is the path of a file. The environment and the
// configuration file may set the flag.
func (s *Settings) fileFlag(group, name, variable string, to *string, usage string) *urfave.StringFlag {
	return &urfave.StringFlag{
		Name: name, Category: group, Destination: to, TakesFile: true, Sources: s.from(name, variable), Usage: usage,
	}
}

// Decimal returns the notation of all flags that take a whole number: without it the flag
// library reads 010 as 8.
func Decimal() urfave.IntegerConfig { return urfave.IntegerConfig{Base: 10} }

// requirement adds an error about a flag unless ok. It ignores flags that the command
// does not have or that were not given.
type requirement func(flag string, ok bool, format string, args ...any)

// Check returns the joined errors of all values, each with the value's origin. It does
// not check defaults, nor flags that the command does not have or does not use.
func (s *Settings) Check() error {
	errs := []error{s.Input.check(s.used)}
	require := func(flag string, ok bool, format string, args ...any) {
		if s.own[flag] != nil && s.Given(flag) && s.used(flag) && !ok {
			errs = append(errs, s.Problemf(flag, format, args...))
		}
	}
	s.checkSet(require)
	s.checkConnection(require)
	s.checkData(require)
	s.checkLog(require)
	require("output", s.Output == "table" || s.Output == "json", "%q is neither table nor json", s.Output)
	s.checkCompat(require)
	s.checkService(require)
	return errors.Join(errs...)
}

// used reports whether the flag's value has an effect: no other setting replaces it.
func (s *Settings) used(flag string) bool {
	switch flag {
	case redisHostFlag, redisPortFlag, redisDBFlag:
		return s.addressFlag() != redisURLFlag
	case "workerPrefix":
		return s.id == ""
	case adminAddrFlag, pidFileFlag:
		return !s.guarded
	default:
		return true
	}
}
