package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// state is the progress of the demo. done and total are numbers of files.
type state struct {
	done    int64
	total   int
	listed  bool // total is final
	crashes int
	took    time.Duration
}

// progress shows the state: as a bar on a terminal, elsewhere as lines of text, at most
// one line per second.
type progress struct {
	out      io.Writer
	terminal bool
	last     time.Time
	bar      bool // a bar is on the last line
}

const barWidth = 30

func (p *progress) show(s state) {
	more := ""
	if !s.listed {
		more = "+"
	}
	text := fmt.Sprintf("%d of %d%s files, %s, %s", s.done, s.total, more, link.Count(s.crashes, "crash"), s.took.Round(100*time.Millisecond))
	if p.terminal {
		full := 0
		if s.total > 0 {
			full = int(min(s.done, int64(s.total))) * barWidth / s.total
		}
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), text)
		p.bar = true
		return
	}
	if s.total > 0 {
		p.note(text)
	}
}

// note writes a line of text, unless a line was written within the last second.
func (p *progress) note(text string) {
	if time.Since(p.last) < time.Second {
		return
	}
	p.last = time.Now()
	p.line(text)
}

// line writes a line of text below the bar.
func (p *progress) line(text string) {
	p.end()
	_, _ = fmt.Fprintln(p.out, text)
}

// end moves to the line below the bar, so that later output does not overwrite the bar.
func (p *progress) end() {
	if p.bar {
		_, _ = fmt.Fprintln(p.out)
		p.bar = false
	}
}

// decode decodes the JSON result of a task. A missing result is an error.
func decode(text json.RawMessage, to any) error {
	if len(text) == 0 {
		return errors.New("there is no result")
	}
	return json.Unmarshal(text, to)
}
