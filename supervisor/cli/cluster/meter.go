package cluster

import (
	"fmt"
	"io"
	"time"

	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// meterInterval is the shortest time between two updates of the progress.
const meterInterval = 100 * time.Millisecond

// Meter shows the progress of a command on a terminal, in one line.
type Meter struct {
	Out    io.Writer
	Silent bool
	last   time.Time
}

// Meter returns a meter on standard error, which is silent where that is no terminal.
func (e *Env) Meter() *Meter { return &Meter{Out: e.Stderr, Silent: !terminal.Is(e.Stderr)} }

// Show shows the text in place of the last one.
func (m *Meter) Show(text func() string) {
	if now := time.Now(); !m.Silent && now.Sub(m.last) >= meterInterval {
		m.last = now
		_, _ = fmt.Fprintf(m.Out, "\r\x1b[K%s", text())
	}
}

// End clears the line.
func (m *Meter) End() {
	if !m.last.IsZero() {
		_, _ = fmt.Fprint(m.Out, "\r\x1b[K")
	}
}
