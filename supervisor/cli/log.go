package cli

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// stamp is the time of a log line, with the milliseconds that tell how long a
// restart took.
const stamp = "2006-01-02T15:04:05.000Z07:00"

// logger writes to the log file or to standard error: for people on a terminal, as
// JSON elsewhere.
func (p *program) logger() (zerolog.Logger, error) {
	level := levels[p.logLevel]
	if p.silent {
		level = max(level, zerolog.ErrorLevel)
	}
	out := p.Stderr
	if p.logFile != "" {
		file, err := service.OpenLogFile(p.logFile)
		if err != nil {
			return zerolog.Nop(), configf("%w", err)
		}
		p.logTo, out = file, file
	}
	terminal := isTerminal(out)
	if p.logFormat == "console" || p.logFormat == "auto" && terminal {
		_, plain := p.input.env("NO_COLOR")
		out = zerolog.ConsoleWriter{
			Out: out, NoColor: plain || !terminal, TimeFormat: "15:04:05.000",
			FieldsOrder: []string{"node", "task", "method"},
		}
	}
	clock := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().Format(stamp))
	})
	log := zerolog.New(zerolog.SyncWriter(out)).Level(level).Hook(clock)
	if p.title != "" {
		log = log.With().Str("title", p.title).Logger()
	}
	return log, nil
}

// isTerminal reports whether people see what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
