package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// ErrNotConfirmed reports that the user's answer was not yes.
var ErrNotConfirmed = errors.New("nothing was done")

// Confirm asks a question on standard error and returns nil if the answer on standard input is
// y or yes. The error is an [ErrNotConfirmed], also for no answer: then it is a
// [config.ErrUsage] that names the flag --yes, with which a command does not ask.
func (e *Env) Confirm(ctx context.Context, question string) error {
	_, _ = fmt.Fprintf(e.Stderr, "%s: %s [y/N] ", e.Program, Printable(question))
	var answer string
	if e.Stdin != nil {
		in := Interruptible(ctx, func() (io.Reader, error) { return io.NopCloser(e.Stdin), nil })
		defer in.Close()
		answer, _ = bufio.NewReader(in).ReadString('\n') // no answer is no
	}
	if !strings.HasSuffix(answer, "\n") { // where a user has pressed Enter, the terminal has shown it
		_, _ = fmt.Fprintln(e.Stderr)
	}
	switch answer = strings.ToLower(strings.TrimSpace(answer)); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case answer == "y", answer == "yes":
		return nil
	case answer == "":
		return config.As(config.ErrUsage, fmt.Errorf("%w: answer y, or give --yes", ErrNotConfirmed))
	default:
		return ErrNotConfirmed
	}
}
