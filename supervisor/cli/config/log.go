package config

import (
	"maps"
	"slices"

	"github.com/rs/zerolog"
	urfave "github.com/urfave/cli/v3"
)

const groupLog = "Log"

// logging holds the level, the format and the file of the log.
type logging struct {
	silent             bool
	level              string
	LogFormat, LogFile string
}

// LogFlags returns the logging flags. level is the default of --log-level.
func (s *Settings) LogFlags(level string) []urfave.Flag {
	return []urfave.Flag{
		&urfave.BoolFlag{
			Name: "silent", Category: groupLog, Destination: &s.silent, Sources: s.from("silent", "STELLAR_SILENT"),
			Usage: "log errors only", HideDefault: true,
		},
		&urfave.StringFlag{
			Name: "log-level", Category: groupLog, Value: level, Destination: &s.level, Sources: s.from("log-level", "STELLAR_LOG_LEVEL"),
			Usage: "the least urgent `LEVEL` to log: trace, debug, info, warn, error or off",
		},
		&urfave.StringFlag{
			Name: "log-format", Category: groupLog, Value: "auto", Destination: &s.LogFormat, Sources: s.from("log-format", "STELLAR_LOG_FORMAT"),
			Usage: "`FORMAT` of the log: json, console, or auto: console on a terminal and json elsewhere",
		},
		s.fileFlag(groupLog, "log-file", "STELLAR_LOG_FILE", &s.LogFile,
			"append the log to `FILE` instead of standard error; when the file is moved, a new one is made"),
	}
}

func (s *Settings) checkLog(require requirement) {
	_, known := levels[s.level]
	require("log-level", known, "%q is none of trace, debug, info, warn, error and off", s.level)
	formats := []string{"auto", "json", "console"}
	require("log-format", slices.Contains(formats, s.LogFormat), "%q is none of auto, json and console", s.LogFormat)
}

// levels are the values of --log-level.
var levels = map[string]zerolog.Level{
	"trace": zerolog.TraceLevel, "debug": zerolog.DebugLevel, "info": zerolog.InfoLevel,
	"warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel, "off": zerolog.Disabled,
}

// Levels returns the values of --log-level, the most talkative first.
func Levels() []string {
	names := slices.Collect(maps.Keys(levels))
	slices.SortFunc(names, func(a, b string) int { return int(levels[a]) - int(levels[b]) })
	return names
}

// Level returns the lowest level that is logged; --silent raises it to error.
func (s *Settings) Level() zerolog.Level {
	level := levels[s.level]
	if s.silent {
		level = max(level, zerolog.ErrorLevel)
	}
	return level
}
