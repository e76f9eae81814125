package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/tasks"
)

// value is a word that a completion offers.
type value struct{ Text, About string }

// source lists the values of a flag or an argument: of itself, or by asking the cluster for
// those that begin with a word. The answer may have others among them, and with an error a part.
type source struct {
	list func() []value
	ask  func(ctx context.Context, c *cluster.Client, word string) ([]value, error)
	many bool // values are separated by commas
}

// mostValues is how many tasks or keys a completion offers.
const mostValues = 200

// flagValues are the values of flags by name, argumentValues those of arguments by the word
// for them in the command's form.
var (
	flagValues = map[string]source{
		outputFlag:   texts("table", "json"),
		"log-level":  {list: func() []value { return named(config.Levels()) }},
		"log-format": texts("auto", "json", "console"),
		"compat":     texts("stellar", "actionhero"),
		"token-mode": texts("hmac", "plain", "both"),
		"priority":   texts("high", "normal", "low"),
		"state":      {list: states, many: true},
		"queue":      {ask: askQueues},
		"queues":     {ask: askQueues, many: true},
		"name":       {ask: askTaskNames},
		"node":       {ask: askNodes},
		"after":      {ask: askTasks},
		"deny":       {ask: askMethods, many: true},
	}
	argumentValues = map[string]source{
		"ID":     {ask: askTasks},
		"QUEUE":  {ask: askQueues},
		"TASK":   {ask: askTaskNames},
		"METHOD": {ask: askMethods},
		"NAME":   {ask: askPeriodic},
		"KEY":    {ask: askKeys},
		"GLOB":   {ask: askKeys},
	}
)

func texts(all ...string) source { return source{list: func() []value { return named(all) }} }

func named(texts []string) []value {
	all := make([]value, len(texts))
	for i, text := range texts {
		all[i] = value{Text: text}
	}
	return all
}

func states() []value {
	var all []value
	for _, s := range tasks.States() {
		all = append(all, value{Text: string(s)})
	}
	return all
}

func askQueues(ctx context.Context, c *cluster.Client, _ string) ([]value, error) {
	known, err := c.Queues(ctx)
	return named(known), err
}

func askTaskNames(ctx context.Context, c *cluster.Client, _ string) ([]value, error) {
	definitions, err := c.Inspector.Definitions(ctx)
	all := make([]value, len(definitions))
	for i, d := range definitions {
		all[i] = value{d.Name, "queue " + d.Queue}
	}
	return all, err
}

func askNodes(ctx context.Context, c *cluster.Client, _ string) ([]value, error) {
	ids, err := c.Live(ctx)
	return named(ids), err
}

func askTasks(ctx context.Context, c *cluster.Client, word string) ([]value, error) {
	var all []value
	for t, err := range c.Inspector.List(ctx, tasks.Filter{States: tasks.States()}) { // the done ones too
		if err != nil {
			return all, err
		}
		if !strings.HasPrefix(t.ID, word) {
			continue
		}
		if all = append(all, value{t.ID, string(t.State) + " " + t.Name}); len(all) == mostValues {
			break
		}
	}
	return all, nil
}

func askPeriodic(ctx context.Context, c *cluster.Client, _ string) ([]value, error) {
	periodic, err := c.Inspector.Periodic(ctx)
	all := make([]value, len(periodic))
	for i, p := range periodic {
		all[i] = value{p.Name, p.Schedule.String()}
	}
	return all, err
}

// literal escapes what has a meaning in a glob pattern.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

func askKeys(ctx context.Context, c *cluster.Client, word string) ([]value, error) {
	keys := map[string]bool{}
	var failed error
	for key, err := range c.Cache.Keys(ctx, literal.Replace(word)+"*") {
		if err != nil {
			failed = err
			break
		}
		if keys[key] = true; len(keys) == mostValues {
			break
		}
	}
	return named(slices.Sorted(maps.Keys(keys))), failed
}

func askMethods(ctx context.Context, c *cluster.Client, _ string) ([]value, error) {
	methods, err := c.Methods(ctx)
	all := make([]value, len(methods))
	for i, m := range methods {
		all[i] = value{m.Name, m.Arguments}
	}
	return all, err
}
