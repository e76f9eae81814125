// Package configcmd has the commands config check and config show, which check and print
// the configuration of the command run.
package configcmd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
)

// Commands returns the command config. newApp makes the program's app, whose tasks are
// checked together with those of the configuration file.
func Commands(e *cluster.Env, newApp func() (*worker.App, error)) []*urfave.Command {
	return []*urfave.Command{{
		Name: "config", Usage: "check the configuration, or show what holds and where it comes from",
		Commands: []*urfave.Command{
			{
				Name: "show", Usage: "show every setting of run, and where its value comes from",
				Description: "It takes the flags of run, and starts nothing. Secrets are not shown.",
				Flags:       e.RunFlags(e.OutputFlag()), ArgValidator: config.NoArguments,
				Action: e.SetAction(newApp, func(_ context.Context, p config.Prepared) error { return show(e, p) }),
			}, {
				Name: "check", Usage: "report everything that is wrong with the configuration", ArgsUsage: "[FILE]",
				Description: "It looks at FILE, or the one that STELLAR_CONFIG names, and at the environment, as run does, but starts\n" +
					"nothing. The exit code is 0 if run can start with it, and 78 if not.",
				ArgValidator: config.Arguments(0, 1, "[FILE]"), Flags: []urfave.Flag{e.OutputFlag()},
				Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
					return check(ctx, e, newApp, strings.Join(args, ""))
				}),
			},
		},
		Action: config.WhichCommand,
	}}
}

// check goes through the preparations of the command run, starts nothing and reports
// the errors. It uses the given file if it is not empty.
func check(ctx context.Context, e *cluster.Env, newApp func() (*worker.App, error), file string) error {
	settings := config.New(e.Env)
	var prepared config.Prepared
	trial := &urfave.Command{
		Name: "run", Flags: settings.RunFlags(), HideHelpCommand: true,
		Writer: e.Stdout, ErrWriter: e.Stderr, ExitErrHandler: func(context.Context, *urfave.Command, error) {},
		Action: settings.SetAction(newApp, func(_ context.Context, p config.Prepared) error {
			prepared = p
			return nil
		}),
	}
	args := []string{"run"}
	if file != "" {
		args = append(args, "--config", file)
	}
	if err := trial.Run(ctx, args); err != nil {
		return config.As(config.ErrInvalid, err)
	}
	for _, remark := range prepared.Remarks {
		e.Notef("%s", remark)
	}
	for _, err := range prepared.Momentary {
		e.Notef("%v (no mistake of the configuration, but so at the moment)", err)
	}
	if r := prepared.Set.Redis; r.Database() != 0 && r.TokenMode != "" && r.TokenMode != link.ModeHMAC {
		e.Notef("token mode %s, database %d: Redis's channels know no database, and in this mode the channel keeps its name: "+
			"nodes of the namespace %s in other databases of this Redis hear each other: give each database a namespace of its own",
			r.TokenMode, r.Database(), r.Keys().Namespace())
	}
	for _, p := range prepared.App.Unhandled() {
		where := ""
		if at := slices.IndexFunc(prepared.Periodics, func(c config.PeriodicTask) bool { return c.Name == p.Name }); at >= 0 {
			where = prepared.Periodics[at].Where + ": "
		}
		e.Notef("%speriodic task %s: this program has no handler for its task %s: it waits for a program that has one", where, p.Name, p.Task)
	}
	return e.WriteResult(map[string]any{
		"config": settings.Path, "commandTasks": len(prepared.Commands), "periodicTasks": len(prepared.Periodics),
	}, fmt.Sprintf("nothing is wrong: %s (%s, %s)",
		cmp.Or(settings.Path, "environment, no file"), link.Count(len(prepared.Commands), "command task"),
		link.Count(len(prepared.Periodics), "periodic task")))
}

// Setting is one setting in the JSON output of config show.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`          // flag, environment, file or default
	Where  string `json:"where,omitempty"` // the flag, the variable, or the file and line
}

// Task is a command task in the JSON output of config show. It omits the values of the
// task's environment, as they may be secret.
type Task struct {
	Name        string   `json:"name"`
	Where       string   `json:"where"`
	Command     []string `json:"command"`
	Environment []string `json:"environment,omitempty"` // names only
}

// Periodic is a periodic task in the JSON output of config show.
type Periodic struct {
	Name     string `json:"name"`
	Where    string `json:"where"`
	Task     string `json:"task"`
	Schedule string `json:"schedule"`
}

// show writes every setting and task with its origin.
func show(e *cluster.Env, p config.Prepared) error {
	settings, commands, periodics := settingsOf(e, p), []Task{}, []Periodic{}
	for _, c := range p.Commands {
		commands = append(commands, Task{
			Name: c.Name, Where: c.Where, Command: redactedArguments(c.Program), Environment: slices.Sorted(maps.Keys(c.Environment)),
		})
	}
	for _, c := range p.Periodics {
		periodics = append(periodics, Periodic{c.Name, c.Where, c.Task, c.Schedule.String()})
	}
	where := "embedded, in memory"
	switch {
	case p.Configured:
		where = p.Set.Redis.Address()
	case e.Data != "":
		where = "a redis-server of one's own, with its data in " + e.Data
	}
	if e.JSON() {
		return e.WriteJSON(map[string]any{"redis": where, "settings": settings, "tasks": commands, "periodic": periodics})
	}
	rows := [][]string{{"SETTING", "VALUE", "SOURCE"}}
	for _, s := range settings {
		rows = append(rows, []string{s.Name, s.Value, strings.TrimSpace(s.Source + " " + s.Where)})
	}
	for _, t := range commands {
		rows = append(rows, []string{config.TasksKey + "." + t.Name, strings.Join(t.Command, " "), "file " + t.Where})
	}
	for _, c := range periodics {
		rows = append(rows, []string{config.PeriodicKey + "." + c.Name, c.Task + ", " + c.Schedule, "file " + c.Where})
	}
	if err := e.WriteTable(rows); err != nil {
		return err
	}
	return e.WriteLine("", "Redis: "+where)
}

// settingsOf returns the values of all flags of run, and for each secret whether it is
// set, not its value.
func settingsOf(e *cluster.Env, p config.Prepared) []Setting {
	var all []Setting
	for _, f := range e.Flags() {
		name := f.Names()[0]
		value, ok := f.(interface{ Get() any })
		if !ok || name == "output" || name == "help" {
			continue
		}
		o := e.Origin(name)
		s := Setting{Name: name, Value: redacted(textOf(value.Get())), Source: o.Rank.String(), Where: o.At}
		if name == "workers" && o.Rank == config.FromDefault {
			s.Value = strconv.Itoa(max(p.Set.Workers, 0)) // the default is 1 if --id is given
		}
		all = append(all, s)
	}
	for _, secret := range e.Secrets() {
		s := Setting{Name: secret.Variable, Source: config.FromDefault.String()}
		if value, _ := e.Env(secret.Variable); value != "" {
			s.Value, s.Source, s.Where = hidden, config.FromEnvironment.String(), secret.Variable
		} else if secret.File != "" {
			s.Value, s.Source, s.Where = hidden, config.FromFile.String(), secret.File
		}
		all = append(all, s)
	}
	return all
}

// textOf formats the value of a flag as it would be written on the command line.
func textOf(value any) string {
	switch v := value.(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}
