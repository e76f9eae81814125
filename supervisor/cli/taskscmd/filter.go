package taskscmd

import (
	"context"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

// filterFlags holds the flags that select tasks.
type filterFlags struct {
	states                   []string
	queue, group, name, text string
	since, until             string
	limit                    int
	possible                 []tasks.State // states that the command accepts; nil for all
	usual                    []tasks.State // states that are selected if no flag names one
	parsedSince, parsedUntil config.Instant
}

func (f *filterFlags) flags(limit int, limited string) []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringSliceFlag{
			Name: "state", Destination: &f.states, Config: urfave.StringConfig{TrimSpace: true},
			Usage: "only tasks in these `STATES`, separated by commas: " + stateNames(f.possible), DefaultText: stateNames(f.usual),
		},
		&urfave.StringFlag{Name: queueWord, Destination: &f.queue, Usage: "only tasks of that `QUEUE`"},
		&urfave.StringFlag{Name: groupWord, Destination: &f.group, Usage: "only tasks of that `GROUP`"},
		&urfave.StringFlag{Name: nameWord, Destination: &f.name, Usage: "only tasks of that `NAME`"},
		&urfave.StringFlag{
			Name: "text", Destination: &f.text,
			Usage: "only tasks with that `TEXT` in the id, the payload, the reason, or in meta written as key=value",
		},
		&urfave.StringFlag{
			Name: "since", Destination: &f.since,
			Usage: "only tasks that ended (dead, cancelled), are due (delayed) or were enqueued since that `TIME`",
		},
		&urfave.StringFlag{Name: "until", Destination: &f.until, Usage: "only tasks of which that was before that `TIME`"},
		&urfave.IntFlag{
			Name: "limit", Config: config.Decimal(), Value: limit, Destination: &f.limit,
			Usage: "how many at most (`N`); 0 for all", DefaultText: limited,
		},
	}
}

func stateNames(states []tasks.State) string { return strings.Join(stateList(states), ", ") }

// stateList returns the names of states, of all for nil.
func stateList(states []tasks.State) []string {
	if states == nil {
		states = tasks.States()
	}
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return names
}

// noteName says where nothing was found that no program has defined a task of that name: it may be
// misspelt.
func (f *filterFlags) noteName(ctx context.Context, e *cluster.Env, c *cluster.Client) error {
	if f.name == "" {
		return nil
	}
	names, err := definedNames(ctx, c)
	if err == nil && !slices.Contains(names, f.name) {
		e.Notef("no program has defined a task %s%s", f.name, meant(f.name, names))
	}
	return err
}

// empty reports whether no flag restricts the selection.
func (f *filterFlags) empty() bool {
	return len(f.states) == 0 && f.queue+f.group+f.name+f.text+f.since+f.until == ""
}

// check parses the times and returns an error if a flag has an invalid value.
func (f *filterFlags) check(e *cluster.Env) (err error) {
	possible := f.possible
	if possible == nil {
		possible = tasks.States()
	}
	for _, s := range f.states {
		if !slices.Contains(possible, tasks.State(s)) {
			return config.Usagef("--state: %q: %s", s, config.Choose(s, stateList(possible)))
		}
	}
	for _, flag := range []string{queueWord, groupWord, nameWord, "text"} {
		if e.Given(flag) && map[string]string{queueWord: f.queue, groupWord: f.group, nameWord: f.name, "text": f.text}[flag] == "" {
			return config.Usagef("--%s: it is empty: leave the flag out for any", flag)
		}
	}
	switch {
	case f.queue != "" && !link.ValidName(f.queue):
		return config.Usagef("--queue: %q: %w", f.queue, link.ErrName)
	case f.name != "" && !link.ValidName(f.name):
		return config.Usagef("--name: %q: %w", f.name, link.ErrName)
	case f.limit < 0:
		return config.Usagef("--limit: %d is negative", f.limit)
	}
	if f.parsedSince, err = config.ParseInstant("since", f.since, true); err != nil {
		return err
	}
	f.parsedUntil, err = config.ParseInstant("until", f.until, true)
	return err
}

// filter returns the filter that the flags describe, and the current time on Redis's
// clock, to which durations in the flags are relative. The error is that of a queue that is
// not there, or of Redis.
func (f *filterFlags) filter(ctx context.Context, e *cluster.Env, c *cluster.Client) (tasks.Filter, time.Time, error) {
	now, err := c.Time(ctx)
	if err == nil {
		err = requireQueue(ctx, e, c, f.queue)
	}
	if err != nil {
		return tasks.Filter{}, now, err
	}
	out := tasks.Filter{
		States: f.usual, Queue: f.queue, Group: f.group, Name: f.name, Text: f.text, Limit: f.limit,
		Since: f.parsedSince.On(now), Until: f.parsedUntil.On(now),
	}
	if len(f.states) > 0 {
		out.States = nil
		for _, s := range f.states {
			out.States = append(out.States, tasks.State(s))
		}
	}
	return out, now, nil
}
