package commandtask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Exit codes with a meaning of their own, as in sysexits.h.
const (
	exitData = 65 // EX_DATAERR
	exitTemp = 75 // EX_TEMPFAIL
)

// handler runs the program of one command.
type handler struct {
	command     Command
	path        string
	account     account
	environment []string
	grace       time.Duration
}

// handle runs the program once.
func (h *handler) handle(ctx context.Context, payload json.RawMessage) error {
	p := &process{
		account: h.account, path: h.path, args: h.command.Program, directory: h.command.Directory, environment: h.variables(ctx), input: payload,
		output: head{limit: max(h.command.Output, 0)}, errors: tail{limit: maxErrors}, grace: h.grace,
	}
	if err := p.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", h.command.Program[0], err)
	}
	switch code := p.state.ExitCode(); {
	case p.stopped:
		return h.failure(context.Cause(ctx), p)
	case code == 0:
		if result := result(&p.output); result != nil && h.command.Output >= 0 {
			tasks.Tx(ctx).Result(result)
		}
		return nil
	case code == exitData:
		return tasks.Discard(h.failure(errors.New(p.state.String()), p))
	case code == exitTemp:
		return tasks.Snooze(h.command.Snooze)
	default:
		return h.failure(errors.New(p.state.String()), p)
	}
}

// failure returns the error of a run, with the end of the program's standard error.
func (h *handler) failure(why error, p *process) error {
	if said := p.errors.String(); said != "" {
		return fmt.Errorf("%s: %w: %s", h.command.Program[0], why, said)
	}
	return fmt.Errorf("%s: %w", h.command.Program[0], why)
}

// variables returns the environment of one run.
func (h *handler) variables(ctx context.Context) []string {
	info := tasks.InfoOf(ctx)
	all := append(slices.Clip(h.environment),
		"STELLAR_TASK_ID="+info.ID,
		"STELLAR_TASK_NAME="+info.Name,
		"STELLAR_TASK_ATTEMPT="+strconv.Itoa(info.Attempt),
		"STELLAR_TASK_FENCE="+strconv.FormatInt(info.Fence, 10),
		"STELLAR_NODE="+worker.FromContext(ctx).ID(),
	)
	if !info.Tick.IsZero() {
		all = append(all, "STELLAR_TASK_TICK="+info.Tick.UTC().Format(time.RFC3339Nano))
	}
	return all
}

// result returns the task's result for the program's standard output: JSON as it is, text as
// a string, an [Output] if it is neither or was cut, and nil if it is empty.
func result(out *head) any {
	text := out.kept
	switch {
	case out.all == 0:
		return nil
	case out.all == int64(len(text)) && json.Valid(text):
		return json.RawMessage(text)
	case out.all == int64(len(text)) && utf8.Valid(text) && fits(text):
		return string(text)
	}
	o := Output{Bytes: out.all, Truncated: out.all > int64(len(text))}
	if o.Truncated {
		text = wholeRunes(text)
	}
	if utf8.Valid(text) && fits(text) {
		o.Text = string(text)
	} else {
		o.Base64 = out.kept
	}
	return o
}

// fits reports whether a text is small enough for a result when it is encoded: JSON needs up
// to six bytes for a byte.
func fits(text []byte) bool {
	const whole = 1 << 10 // for the rest of an [Output]
	if 6*len(text)+whole <= tasks.MaxResult {
		return true
	}
	encoded, err := json.Marshal(string(text))
	return err == nil && len(encoded)+whole <= tasks.MaxResult
}

// wholeRunes removes an incomplete character at the end of the text.
func wholeRunes(text []byte) []byte {
	for i := 1; i <= utf8.UTFMax && i <= len(text); i++ {
		if start := len(text) - i; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				return text[:start]
			}
			return text
		}
	}
	return text
}

// head keeps the first bytes that are written to it.
type head struct {
	kept  []byte
	limit int
	all   int64 // bytes written
}

// Write implements io.Writer.
func (h *head) Write(b []byte) (int, error) {
	h.all += int64(len(b))
	h.kept = append(h.kept, b[:min(len(b), h.limit-len(h.kept))]...)
	return len(b), nil
}

// maxErrors is how much of standard error an error carries, in bytes.
const maxErrors = 2 << 10

// tail keeps the last bytes that are written to it.
type tail struct {
	kept  []byte
	limit int
	cut   bool // the beginning is missing
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if more := len(t.kept) - t.limit; more > 0 {
		t.kept = append(t.kept[:0], t.kept[more:]...)
		t.cut = true
	}
	return len(b), nil
}

// String returns the text, with "…" in front if its beginning is missing.
func (t *tail) String() string {
	text := strings.ToValidUTF8(string(bytes.TrimSpace(t.kept)), "\uFFFD")
	if t.cut {
		return "…" + text
	}
	return text
}
