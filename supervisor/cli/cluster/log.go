package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// stamp is the time format of log lines. Its milliseconds show how long a restart took.
const stamp = "2006-01-02T15:04:05.000Z07:00"

// Logger returns a logger to the log file, if --log-file names one, or to standard
// error. The default format is readable text on a terminal and JSON elsewhere. The
// error is a [config.ErrInvalid]: the log file cannot be opened.
func (e *Env) Logger() (zerolog.Logger, error) {
	out := e.Stderr
	if e.LogFile != "" {
		file, err := service.OpenLogFile(e.LogFile)
		if err != nil {
			return zerolog.Nop(), config.Invalidf("%w", err)
		}
		e.logTo, out = file, file
	}
	onTerminal := terminal.Is(out)
	out = lossy{out, &e.lost}
	if e.LogFormat == "console" || e.LogFormat == "auto" && onTerminal {
		_, plain := e.Env("NO_COLOR")
		out = zerolog.ConsoleWriter{
			Out: out, NoColor: plain || !onTerminal, TimeFormat: "15:04:05.000",
			FieldsOrder: []string{"node", "task", "method"}, FormatPrepare: printableEvent,
		}
	} else if onTerminal {
		out = jsonWriter{out}
	}
	clock := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().Format(stamp))
	})
	log := zerolog.New(zerolog.SyncWriter(out)).Level(e.Level()).Hook(clock)
	if e.Title != "" {
		log = log.With().Str("title", e.Title).Logger()
	}
	if e.RedisLog != nil {
		e.RedisLog.to.Store(&log)
	}
	return log, nil
}

// RedisLog is a logger for the Redis client library, which has one for the whole process.
// It drops the lines until [Env.Logger] has made the log. Then it logs them for debugging:
// the nodes log in their own words what they say.
type RedisLog struct {
	to atomic.Pointer[zerolog.Logger]
}

// Printf implements the library's interface.
func (r *RedisLog) Printf(_ context.Context, format string, args ...any) {
	if log := r.to.Load(); log != nil {
		log.Debug().Str("part", "redis client").Msgf(format, args...)
	}
}

// LogsToFile reports whether the log goes to a file.
func (e *Env) LogsToFile() bool { return e.logTo != nil }

// LostLines returns how many lines of the log could not be written.
func (e *Env) LostLines() int64 { return e.lost.Load() }

// CloseLog closes the log file, if the log goes to a file.
func (e *Env) CloseLog() {
	if e.RedisLog != nil {
		e.RedisLog.to.Store(nil)
	}
	if e.logTo != nil {
		_ = e.logTo.Close()
	}
}
