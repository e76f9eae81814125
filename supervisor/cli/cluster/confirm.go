package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

// ErrNotConfirmed reports that the user's answer was not yes.
var ErrNotConfirmed = errors.New("nothing was done")

// Confirm asks a question on standard error and returns nil if the answer on standard input is
// y or yes. The error is an [ErrNotConfirmed], also for no answer: then it is a
// [config.ErrUsage] that names the flag --yes, with which a command does not ask. If the output is
// JSON, the question is an object with the member question.
func (e *Env) Confirm(ctx context.Context, question string) error {
	return e.confirm(ctx, question+" [y/N]", "y", func(answer string) bool {
		answer = strings.ToLower(answer)
		return answer == "y" || answer == "yes"
	})
}

// ConfirmName is [Env.Confirm] for what cannot be undone: the answer is the name of what is meant.
func (e *Env) ConfirmName(ctx context.Context, question, name string) error {
	return e.confirm(ctx, question+" Type its name:", "the name "+name, func(answer string) bool { return answer == name })
}

func (e *Env) confirm(ctx context.Context, question, expected string, isYes func(answer string) bool) error {
	asJSON := e.JSON() || e.JSONErrors
	if asJSON {
		e.complain(struct {
			Question string `json:"question"`
		}{question})
	} else {
		_, _ = fmt.Fprintf(e.Stderr, "%s: %s ", e.Program, Printable(question))
	}
	var answer string
	if e.Stdin != nil {
		in := Interruptible(ctx, func() (io.Reader, error) { return io.NopCloser(e.Stdin), nil })
		defer in.Close()
		answer, _ = bufio.NewReader(io.LimitReader(in, maxAnswer)).ReadString('\n') // no answer is no
	}
	if entered := terminal.Is(e.Stdin) && strings.HasSuffix(answer, "\n"); !asJSON && !entered { // a terminal has shown the Enter
		_, _ = fmt.Fprintln(e.Stderr)
	}
	switch answer = strings.TrimSpace(answer); {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), ErrNotConfirmed)
	case isYes(answer):
		return nil
	case answer == "":
		return config.As(config.ErrUsage, fmt.Errorf("%w: answer %s, or give --yes", ErrNotConfirmed, expected))
	case strings.EqualFold(answer, "n") || strings.EqualFold(answer, "no"):
		return ErrNotConfirmed
	default:
		return fmt.Errorf("%w: %.60q is not %s", ErrNotConfirmed, answer, expected)
	}
}

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 1024
