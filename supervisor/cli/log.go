package cli

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// stamp is the time of a log line, with the milliseconds that tell how long a
// restart took.
const stamp = "2006-01-02T15:04:05.000Z07:00"

// logger writes to standard error: for people on a terminal, as JSON elsewhere.
func (p *program) logger() zerolog.Logger {
	level := levels[p.logLevel]
	if p.silent {
		level = max(level, zerolog.ErrorLevel)
	}
	terminal := isTerminal(p.Stderr)
	out := p.Stderr
	if p.logFormat == "console" || p.logFormat == "auto" && terminal {
		_, plain := p.input.env("NO_COLOR")
		out = zerolog.ConsoleWriter{
			Out: p.Stderr, NoColor: plain || !terminal, TimeFormat: "15:04:05.000",
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
	return log
}

// isTerminal reports whether people see what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
