package taskscmd

import (
	"context"
	"fmt"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/tasks"
)

// defaultsFlags holds the flags of "tasks defaults".
type defaultsFlags struct {
	attempts           int
	timeout, retention time.Duration
	reset, anyName     bool
}

func defaultsCommand(e *cluster.Env) *urfave.Command {
	f := &defaultsFlags{}
	return queueVerb{
		name: "defaults", usage: "set what a queue's tasks get that their own options do not set",
		more: "They win over the definitions of the tasks, also for those that wait already. Those that are not named stay; 0 is none.\n" +
			"Without a flag it shows them.",
		flags: []urfave.Flag{
			&urfave.IntFlag{
				Name: "max-attempts", Config: config.Decimal(), Destination: &f.attempts, HideDefault: true,
				Usage: "how often one may fail before it is dead (`N`)",
			},
			&urfave.DurationFlag{Name: "run-timeout", Destination: &f.timeout, HideDefault: true, Usage: "how long a run may take (`TIME`)"},
			&urfave.DurationFlag{
				Name: "retention", Destination: &f.retention, HideDefault: true,
				Usage: "how long one and its result are remembered when it is done (`TIME`)",
			},
			anyNameFlag(&f.anyName),
			&urfave.BoolFlag{Name: "reset", Destination: &f.reset, Usage: "back to what the definitions say", HideDefault: true},
		},
		check: func(e *cluster.Env) error { _, err := f.asked(e, ""); return err },
		do:    f.set,
	}.command(e)
}

// asked returns the defaults that the flags change; those without a flag stay nil.
func (f *defaultsFlags) asked(e *cluster.Env, queue string) (builtin.QueueDefaults, error) {
	d := builtin.QueueDefaults{Queue: queue, Reset: f.reset}
	if e.Given("max-attempts") {
		d.MaxAttempts = &f.attempts
	}
	if e.Given("run-timeout") {
		d.Timeout = &f.timeout
	}
	if e.Given("retention") {
		d.Retention = &f.retention
	}
	switch {
	case f.reset && d != builtin.QueueDefaults{Queue: queue, Reset: true}:
		return d, config.Usagef("defaults: use --reset, or flags that set defaults, not both")
	case f.attempts < 0:
		return d, config.Usagef("--max-attempts: %d is negative; 0 is none", f.attempts)
	case f.timeout%time.Millisecond != 0 || f.retention%time.Millisecond != 0:
		return d, config.Usagef("defaults: use whole milliseconds")
	case f.timeout < 0:
		return d, config.Usagef("--run-timeout: %s is negative; 0 is none", f.timeout)
	case f.retention < 0:
		return d, config.Usagef("--retention: %s is negative; 0 is none", f.retention)
	}
	return d, nil
}

func (f *defaultsFlags) set(ctx context.Context, e *cluster.Env, c *cluster.Client, name string) (change, error) {
	asked, err := f.asked(e, name)
	if err == nil && !f.anyName {
		err = requireQueue(ctx, e, c, name)
	}
	if err != nil {
		return change{}, err
	}
	var d tasks.Defaults
	if asked == (builtin.QueueDefaults{Queue: name}) {
		d, err = c.Inspector.Defaults(ctx, name)
	} else {
		d, err = asked.Set(ctx, c.Inspector)
	}
	return change{members: map[string]any{"defaults": d}, table: [][]string{
		{queueColumn, "MAX ATTEMPTS", "RUN TIMEOUT", "RETENTION"},
		{
			name, orDefinition(d.MaxAttempts, strconv.Itoa),
			orDefinition(d.Timeout, time.Duration.String), orDefinition(d.Retention, time.Duration.String),
		},
	}}, err
}

// orDefinition formats a default, or says that the definitions count.
func orDefinition[T comparable](value T, format func(T) string) string {
	var none T
	if value == none {
		return "by definition"
	}
	return format(value)
}

// defaultsWords says which defaults are set.
func defaultsWords(d tasks.Defaults) (words []string) {
	if d.MaxAttempts > 0 {
		words = append(words, fmt.Sprintf("default max-attempts %d", d.MaxAttempts))
	}
	if d.Timeout > 0 {
		words = append(words, "default run-timeout "+d.Timeout.String())
	}
	if d.Retention > 0 {
		words = append(words, "default retention "+d.Retention.String())
	}
	return words
}
